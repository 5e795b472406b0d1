/** A NATS server of the bench's own, found and run as the product finds and runs its embedded one. */
import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/mesh/clock.ts";
import { silentLog } from "../src/mesh/log.ts";
import { openDataDir } from "../src/mesh/nats/data-dir.ts";
import { startNats } from "../src/mesh/nats/launcher.ts";

export interface BenchNats {
  /** With the token. */
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startBenchNats(): Promise<BenchNats> {
  const root = await mkdtemp(join(tmpdir(), "weft-bench-nats-"));
  const dataDir = await openDataDir(join(root, "data"), systemClock);
  const server = await startNats({
    dataDir,
    cacheDir: process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
    path: process.env.PATH ?? "",
    durability: "process",
    reset: false,
    clock: systemClock,
    log: silentLog,
    say: () => {},
  });
  const pid = server.pidNow();
  if (pid === undefined) throw new Error("the NATS server does not run");
  return {
    url: server.url,
    pid,
    async stop() {
      await server.close();
      await dataDir.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
