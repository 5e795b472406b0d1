/**
 * A process that holds a data directory, for tests that kill one.
 * Arguments: what to hold (`dir` or `server`), the data directory, the PATH to find nats-server on.
 * Prints one JSON line when it holds it or was refused, then stays.
 */
import { systemClock } from "../../../src/mesh/clock.ts";
import { MeshError } from "../../../src/mesh/errors.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { openDataDir } from "../../../src/mesh/nats/data-dir.ts";
import { startNats } from "../../../src/mesh/nats/launcher.ts";

const [what, path = "", searchPath = ""] = process.argv.slice(2);

function report(line: object): void {
  process.stdout.write(`${JSON.stringify({ pid: process.pid, ...line })}\n`);
}

try {
  const dataDir = await openDataDir(path, systemClock);
  if (what === "server") {
    const server = await startNats({
      dataDir,
      cacheDir: path,
      path: searchPath,
      durability: "process",
      reset: false,
      clock: systemClock,
      log: silentLog,
      say: () => {},
    });
    report({ url: server.url, serverPid: server.pidNow() });
  } else {
    report({ held: true });
  }
  setInterval(() => {}, 60_000);
} catch (error) {
  if (!(error instanceof MeshError)) throw error;
  report({ refused: error.code, message: error.message });
}
