/** A fresh, real NATS server for one test file, run by the product's own launcher. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "../../src/mesh/clock.ts";
import { CloseStack } from "../../src/mesh/lifecycle.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { connectNats, type MeshConnection } from "../../src/mesh/nats/connection.ts";
import { openDataDir } from "../../src/mesh/nats/data-dir.ts";
import { type NatsServer, startNats } from "../../src/mesh/nats/launcher.ts";
import { natsBinary } from "./nats-binary.ts";
import { until } from "./until.ts";

export interface TestNats {
  readonly server: NatsServer;
  /** With the token, as other NATS clients read it. */
  readonly url: string;
  /** For a bare `connect` of the NATS library, which does not read the token out of an address. */
  readonly login: { readonly servers: string; readonly token: string };
  readonly dataDir: string;
  /** A connection that `close` closes. */
  connect(name?: string): Promise<MeshConnection>;
  /** kill -9; the supervisor brings the server back on the same address with what it had stored. */
  kill9(): void;
  /** kill9, then waits until another server process is there. */
  restart(): Promise<void>;
  /** Ends the server and removes all it stored. */
  close(): Promise<void>;
}

export async function startTestNats(): Promise<TestNats> {
  const started = new CloseStack((name, error) => process.stderr.write(`stopping ${name}: ${error}\n`));
  const root = await mkdtemp(join(tmpdir(), "weft-nats-"));
  started.defer("temporary folder", () => rm(root, { recursive: true, force: true }));
  try {
    const dataDir = started.use("data dir", await openDataDir(join(root, "data"), systemClock));
    const server = started.use(
      "server",
      await startNats({
        dataDir,
        cacheDir: join(root, "cache"),
        path: dirname(natsBinary()),
        durability: "process",
        reset: false,
        clock: systemClock,
        log: silentLog,
        say: () => {},
      }),
    );
    const { username: token, host } = new URL(server.url);
    const kill9 = () => process.kill(server.pidNow() ?? Number.NaN, "SIGKILL");
    return {
      server,
      url: server.url,
      login: { servers: host, token },
      dataDir: dataDir.path,
      connect: async (name = "test") =>
        started.use(name, await connectNats(server.target, { name, clock: systemClock, log: silentLog })),
      kill9,
      async restart() {
        const before = server.pidNow();
        kill9();
        await until(() => server.pidNow() !== before && server.pidNow(), { what: "a new server process" });
      },
      close: () => started.close(),
    };
  } catch (error) {
    await started.close();
    throw error;
  }
}
