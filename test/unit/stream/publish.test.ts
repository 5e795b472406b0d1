/** Publisher against a responder that answers as JetStream does, when the test wants it to. */
import type { Msg } from "@nats-io/nats-core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import type { MeshError } from "../../../src/mesh/errors.ts";
import { Publisher } from "../../../src/mesh/stream/publish.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";
import { until } from "../../support/until.ts";

let nats: TestNats;
let clock: FakeClock;
let publisher: Publisher;
/** Published and not answered. */
let heard: Msg[];

beforeEach(async () => {
  nats = await startTestNats();
  const responder = await nats.connect("responder");
  heard = [];
  responder.nc.subscribe("stored.>", { callback: (_error, msg) => void heard.push(msg) });
  await responder.nc.flush();
  clock = new FakeClock();
  const { nc } = await nats.connect("publisher");
  publisher = new Publisher(nc, clock);
  await nc.flush();
});
afterEach(async () => {
  await publisher.close();
  await nats.close();
});

function publish(): Promise<unknown> {
  return publisher
    .publish("stored.x", Buffer.from("x"), [])
    .catch((error: MeshError) => `${error.code}: ${error.detail.found}`);
}

async function heardNext(): Promise<Msg> {
  await until(() => heard.length > 0);
  return heard.shift() as Msg;
}

describe("Publisher.publish", () => {
  test.each([
    ['{"stream":"s", "seq":7}', { stream: "s", sequence: 7, duplicate: false }],
    ['{"stream":"s","seq":7,"duplicate": true}', { stream: "s", sequence: 7, duplicate: true }],
    ['{"stream":"s", "domain":"hub", "seq":7}', { stream: "s", sequence: 7, duplicate: false }],
    [
      '{"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"}}',
      "STREAM_FULL: maximum bytes exceeded (10077)",
    ],
    ["", "STORAGE_UNAVAILABLE: no stream takes the subject"],
    ["+OK", "STORAGE_UNAVAILABLE: the acknowledgement is not JSON"],
  ])("settles as %j says", async (answer, outcome) => {
    const published = publish();
    (await heardNext()).respond(answer);
    expect(await published).toEqual(outcome);
    expect(publisher.unacked).toBe(0);
  });

  test("uses the place of an acknowledgement again once it has come", async () => {
    const first = publish();
    const message = await heardNext();
    message.respond('{"stream":"s", "seq":1}');
    await first;
    const second = publish();
    const next = await heardNext();
    expect(next.reply).toBe(message.reply);
    next.respond('{"stream":"s", "seq":2}');
    expect(await second).toMatchObject({ sequence: 2 });
  });

  test("never takes a late acknowledgement for another message's", async () => {
    const first = publish();
    const late = await heardNext();
    await clock.advance(6000);
    expect(await first).toBe("STORAGE_UNAVAILABLE: no acknowledgement within 5000 ms");
    const second = publish();
    const message = await heardNext();
    late.respond('{"stream":"s", "seq":1}');
    message.respond('{"stream":"s", "seq":2}');
    expect(await second).toMatchObject({ sequence: 2 });
  });

  test("nor one that comes after the connection was lost and is there again", async () => {
    const first = publish();
    const late = await heardNext();
    publisher.setConnected(false);
    expect(await first).toBe("STORAGE_UNAVAILABLE: the connection to NATS was lost");
    publisher.setConnected(true);
    const second = publish();
    const message = await heardNext();
    late.respond('{"stream":"s", "seq":1}');
    message.respond('{"stream":"s", "seq":2}');
    expect(await second).toMatchObject({ sequence: 2 });
  });
});
