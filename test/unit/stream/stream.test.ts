import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { connectNats } from "../../../src/mesh/nats/connection.ts";
import { ensureBrokerStreams } from "../../../src/mesh/stream/stream.ts";
import { eventStream, redriveStream } from "../../../src/mesh/stream/subjects.ts";
import { startOtherServer } from "../../support/other-server.ts";

const broker = { namespace: "default", name: "b" };
const limits = {
  replicas: 1,
  eventAgeMs: 3_600_000,
  dedupeMs: 1000,
  journalAgeMs: 3_600_000,
  journalBytesMax: 1_000_000,
};
let started: CloseStack;
let root: string;

beforeEach(async () => {
  started = new CloseStack();
  root = await mkdtemp(join(tmpdir(), "weft-stream-"));
  started.defer("folder", () => rm(root, { recursive: true, force: true }));
});
afterEach(() => started.close());

async function managerOf(config: string, login = ""): Promise<JetStreamManager> {
  const port = await startOtherServer(started, { root, config });
  const url = `nats://${login}127.0.0.1:${port}`;
  const options = { name: "test", clock: systemClock, log: silentLog };
  return jetstreamManager(started.use("connection", await connectNats({ url }, options)).nc);
}

const consumersMaxOf = async (jsm: JetStreamManager, stream: string) =>
  (await jsm.streams.info(stream)).config.max_consumers;

async function addConsumers(jsm: JetStreamManager, stream: string, count: number): Promise<void> {
  const names = Array.from({ length: count }, (_, i) => `t-${i}`);
  while (names.length > 0) {
    await Promise.all(names.splice(0, 50).map((name) => jsm.consumers.add(stream, { durable_name: name })));
  }
}

test("a broker takes more triggers than a stream of the server has consumers by default", async () => {
  const jsm = await managerOf("");
  await ensureBrokerStreams(jsm, broker, limits);
  await addConsumers(jsm, eventStream(broker), 1001);
  expect((await jsm.streams.info(eventStream(broker))).state.consumer_count).toBe(1001);
});

test("a broker from before there was a limit gets it", async () => {
  const jsm = await managerOf("");
  await ensureBrokerStreams(jsm, broker, limits);
  const wanted = await consumersMaxOf(jsm, eventStream(broker));
  const unlimited = { description: "older", max_consumers: -1 };
  for (const stream of [eventStream(broker), redriveStream(broker)]) {
    await jsm.streams.update(stream, unlimited);
    expect(await consumersMaxOf(jsm, stream)).toBe(-1);
  }
  await ensureBrokerStreams(jsm, broker, limits);
  expect(wanted).toBeGreaterThan(1000);
  expect(await consumersMaxOf(jsm, eventStream(broker))).toBe(wanted);
  expect(await consumersMaxOf(jsm, redriveStream(broker))).toBe(wanted);
});

test("an account's own limit of consumers is left to the account", async () => {
  const account = "jetstream { max_consumers: 2 }, users [{ user: u, password: p }]";
  const jsm = await managerOf(`accounts { A { ${account} } }`, "u:p@");
  await ensureBrokerStreams(jsm, broker, limits);
  expect(await consumersMaxOf(jsm, eventStream(broker))).toBe(-1);
  await addConsumers(jsm, eventStream(broker), 2);
  await expect(addConsumers(jsm, eventStream(broker), 3)).rejects.toThrow(/maximum consumers/);
});
