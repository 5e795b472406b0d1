import { headers as makeHeaders } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { dueMessage, waitingMessage } from "../../../src/mesh/stream/delayed.ts";

const broker = { namespace: "shop", name: "orders" };
const payload = Buffer.from("{}");
const event = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "order.placed" };

function headersOf(record: Readonly<Record<string, string>>) {
  const headers = makeHeaders();
  for (const [name, value] of Object.entries(record)) headers.set(name, value);
  return headers;
}

test("waitingMessage gives an event a place of its own that a duplicate finds taken", () => {
  const options = { dueMs: Date.parse("2026-01-31T12:00:00Z"), messageId: "e:/s 1" };
  const one = waitingMessage(broker, { headers: event, payload }, options);
  expect(one.headers).toEqual({
    ...event,
    "Nats-Schedule": "@at 2026-01-31T12:00:00.000Z",
    "Nats-Schedule-Target": "weft.at.shop.orders.due",
    "Nats-Expected-Last-Subject-Sequence": "0",
    "weft-message-id": "e:/s 1",
  });
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
  const fired = headersOf({
    ...event,
    "x-request-id": "r",
    "weft-message-id": "e:/s 1",
    "Nats-Scheduler": "weft.at.shop.orders.wait.x",
    "Nats-Schedule-Next": "purge",
    "Nats-Batch-Id": "left over",
    "Nats-Batch-Commit": "1",
  });
  expect(dueMessage(broker, { headers: fired, data: payload }, 9)).toEqual({
    subject: "weft.ev.shop.orders.order.placed",
    headers: { ...event, "x-request-id": "r", "Nats-Msg-Id": "e:/s 1" },
    payload,
  });
});

test("dueMessage without a message id is told from others by its sequence", () => {
  expect(dueMessage(broker, { headers: headersOf(event), data: payload }, 9).headers["Nats-Msg-Id"]).toBe(
    "at:9",
  );
});

test("dueMessage of something unreadable goes on under a type of its own", () => {
  const message = dueMessage(broker, { headers: headersOf({ "ce-id": "1" }), data: Buffer.from("?") }, 9);
  expect(message.subject).toBe("weft.ev.shop.orders.dev.weft.event.invalid");
  expect(message.payload).toEqual(Buffer.from("?"));
});
