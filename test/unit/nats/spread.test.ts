import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { run } from "../../../src/mesh/nats/spawn.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";

let nats: TestNats;

beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats?.close());

const call = (command: string, ...args: string[]) =>
  run(command, args, { clock: systemClock, timeoutMs: 10_000 });

/** Whether folders can be spread on the file system that tests use. */
async function isPossible(): Promise<boolean> {
  const probe = await mkdtemp(join(tmpdir(), "weft-spread-"));
  try {
    await mkdir(join(probe, "folder"));
    return (await call("chattr", "+T", join(probe, "folder"))).failure === undefined;
  } finally {
    await rm(probe, { recursive: true });
  }
}

/** The attributes chattr(1) knows, as letters; none where the file system has no such thing. */
const attributesOf = async (folder: string) =>
  (await call("lsattr", "-d", folder)).output.split(" ")[0]?.replaceAll("-", "") ?? "";

test("a stream's consumers are spread where the file system can, and work everywhere", async () => {
  const { nc } = await nats.connect();
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "S", subjects: ["s"] });
  await nats.server.spreadConsumers("S");
  await jsm.consumers.add("S", { durable_name: "c" });
  const consumers = join(nats.dataDir, "nats", "jetstream", "$G", "streams", "S", "obs");
  expect((await attributesOf(consumers)).includes("T")).toBe(await isPossible());
  expect((await jsm.consumers.info("S", "c")).num_pending).toBe(0);
});

test("a stream that is not there is no error", async () => {
  await expect(nats.server.spreadConsumers("none")).resolves.toBeUndefined();
});
