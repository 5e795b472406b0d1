import { expect, test } from "vitest";
import { HeaderBlock } from "../../../src/mesh/nats/header-block.ts";
import { dueMessage, waitingMessage } from "../../../src/mesh/stream/delayed.ts";

const broker = { namespace: "shop", name: "orders" };
const payload = Buffer.from("{}");
const event = Object.entries({
  "ce-specversion": "1.0",
  "ce-id": "1",
  "ce-source": "/s",
  "ce-type": "order.placed",
}).flat();

function headersOf(headers: readonly string[]): HeaderBlock {
  let lines = "";
  for (let at = 0; at < headers.length; at += 2) lines += `${headers[at]}: ${headers[at + 1]}\r\n`;
  return new HeaderBlock(`NATS/1.0\r\n${lines}\r\n`);
}

test("waitingMessage gives an event a place of its own that a duplicate finds taken", () => {
  const options = { dueMs: Date.parse("2026-01-31T12:00:00Z"), messageId: "e:/s 1" };
  const one = waitingMessage(broker, { headers: event, payload }, options);
  expect(one.headers).toEqual([
    ...event,
    ...["Nats-Schedule", "@at 2026-01-31T12:00:00.000Z"],
    ...["Nats-Schedule-Target", "weft.at.shop.orders.due"],
    ...["Nats-Expected-Last-Subject-Sequence", "0"],
    ...["weft-message-id", "e:/s 1"],
  ]);
  expect(waitingMessage(broker, { headers: event, payload }, options).subject).toBe(one.subject);
  expect(
    waitingMessage(broker, { headers: event, payload }, { ...options, messageId: "e:/s 2" }).subject,
  ).not.toBe(one.subject);
});

test("waitingMessage without a message id never shares a place", () => {
  const place = () =>
    waitingMessage(broker, { headers: event, payload }, { dueMs: 0, messageId: undefined }).subject;
  expect(place()).not.toBe(place());
});

test("dueMessage is the event as it would have been stored at once", () => {
  const fired = headersOf([
    ...event,
    ...["x-request-id", "r"],
    ...["weft-message-id", "e:/s 1"],
    ...["Nats-Scheduler", "weft.at.shop.orders.wait.x"],
    ...["Nats-Schedule-Next", "purge"],
    ...["Nats-Batch-Id", "left over"],
    ...["Nats-Batch-Commit", "1"],
  ]);
  expect(dueMessage(broker, { headers: fired, data: payload, sequence: 9 })).toEqual({
    subject: "weft.ev.shop.orders.order.placed",
    headers: [...event, "x-request-id", "r", "Nats-Msg-Id", "e:/s 1"],
    payload,
  });
});

test("dueMessage without a message id is told from others by its sequence", () => {
  const message = dueMessage(broker, { headers: headersOf(event), data: payload, sequence: 9 });
  expect(message.headers.slice(-2)).toEqual(["Nats-Msg-Id", "at:9"]);
});

test("dueMessage of something unreadable goes on under a type of its own", () => {
  const unreadable = { headers: headersOf(["ce-id", "1"]), data: Buffer.from("?"), sequence: 9 };
  const message = dueMessage(broker, unreadable);
  expect(message.subject).toBe("weft.ev.shop.orders.dev.weft.event.invalid");
  expect(message.payload).toEqual(Buffer.from("?"));
});
