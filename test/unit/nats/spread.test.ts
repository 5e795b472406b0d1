import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { connectNats } from "../../../src/mesh/nats/connection.ts";
import { openDataDir } from "../../../src/mesh/nats/data-dir.ts";
import { type NatsServer, startNats } from "../../../src/mesh/nats/launcher.ts";
import { run } from "../../../src/mesh/nats/spawn.ts";

let root: string;
let started: CloseStack;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-spread-"));
  started = new CloseStack();
});
afterEach(async () => {
  await started.close();
  await rm(root, { recursive: true, force: true });
});

async function startServer(): Promise<NatsServer> {
  return started.use(
    "server",
    await startNats({
      dataDir: started.use("dir", await openDataDir(join(root, "data"), systemClock)),
      cacheDir: join(root, "cache"),
      path: dirname(inject("natsBinary")),
      durability: "process",
      reset: false,
      clock: systemClock,
      log: silentLog,
      say: () => {},
    }),
  );
}

const call = (command: string, ...args: string[]) =>
  run(command, args, { clock: systemClock, timeoutMs: 10_000 });

/** The attributes chattr(1) knows, as letters; none where the file system has no such thing. */
const attributesOf = async (folder: string) =>
  (await call("lsattr", "-d", folder)).output.split(" ")[0]?.replaceAll("-", "") ?? "";

test("a stream's consumers are spread where the file system can, and work everywhere", async () => {
  const probe = join(root, "probe");
  await mkdir(probe);
  const isPossible =
    process.platform === "linux" && (await call("chattr", "+T", probe)).failure === undefined;
  const server = await startServer();
  const { nc } = started.use(
    "connection",
    await connectNats(server.target, { name: "test", clock: systemClock, log: silentLog }),
  );
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "S", subjects: ["s"] });
  await server.spreadConsumers("S");
  await jsm.consumers.add("S", { durable_name: "c" });
  const consumers = join(root, "data", "nats", "jetstream", "$G", "streams", "S", "obs");
  expect((await attributesOf(consumers)).includes("T")).toBe(isPossible);
  expect((await jsm.consumers.info("S", "c")).num_pending).toBe(0);
});

test("a stream that is not there is no error", async () => {
  const server = await startServer();
  await expect(server.spreadConsumers("none")).resolves.toBeUndefined();
});
