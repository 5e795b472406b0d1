import { CloudEvent as SdkCloudEvent } from "cloudevents";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { DataUnparsable } from "../../../src/mesh/sdk/author-event.ts";
import { type Answer, type Outcome, resolveExports, toAnswer } from "../../../src/mesh/sdk/handler.ts";
import { completeEvent } from "../../../src/mesh/sdk/reply.ts";
import {
  type CloudEvent,
  type CloudEventInput,
  defineFunction,
  NonRetryable,
  Reject,
  RetryAfter,
} from "../../../src/mesh/sdk/sdk.ts";

const incoming: CloudEvent = {
  specversion: "1.0",
  id: "1",
  source: "/shop",
  type: "order.placed",
  subject: "A-1",
  traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  data: {},
};

function answerTo(outcome: Outcome, event: CloudEvent | undefined, replyType?: string): Answer {
  return toAnswer(outcome, event, (input: Partial<CloudEventInput>) =>
    completeEvent(input, {
      incoming: event,
      service: { namespace: "default", name: "price" },
      replyType,
      index: 0,
      time: "2026-01-31T12:00:00.000Z",
    }),
  );
}

function bodyOf(answer: Answer): string {
  return answer.kind === "plain" ? Buffer.from(answer.body ?? []).toString() : "";
}

describe("toAnswer of a plain result", () => {
  test.each([
    { name: "nothing", value: undefined, event: 200, http: 204 },
    { name: "null", value: null, event: 200, http: 204 },
  ])("$name must be 200 and empty for an event, 204 for HTTP", ({ value, event, http }) => {
    for (const [request, status] of [
      [incoming, event],
      [undefined, http],
    ] as const) {
      const answer = answerTo({ kind: "returned", value }, request);
      expect(answer).toEqual({ kind: "plain", status, headers: {}, body: undefined });
    }
  });

  test.each([
    { value: { a: 1 }, contentType: "application/json", body: '{"a":1}' },
    { value: "hello", contentType: "text/plain; charset=utf-8", body: "hello" },
    { value: 7, contentType: "application/json", body: "7" },
    { value: false, contentType: "application/json", body: "false" },
    { value: [1, 2], contentType: "application/json", body: "[1,2]" },
    { value: new Uint8Array([104, 105]), contentType: "application/octet-stream", body: "hi" },
  ])("$value must be a 200 of $contentType for plain HTTP", ({ value, contentType, body }) => {
    const answer = answerTo({ kind: "returned", value }, undefined);
    expect(answer).toMatchObject({ status: 200, headers: { "content-type": contentType } });
    expect(bodyOf(answer)).toBe(body);
  });

  test.each([{ a: 1 }, "hello", 7, false, [1, 2]])(
    "%j must become a reply event, never a plain body",
    (value) => {
      const answer = answerTo({ kind: "returned", value }, incoming, "order.priced");
      expect(answer).toEqual({
        kind: "event",
        event: {
          specversion: "1.0",
          id: expect.stringMatching(/^[0-9a-f]{32}$/),
          source: "/namespaces/default/functions/price",
          type: "order.priced",
          subject: "A-1",
          time: "2026-01-31T12:00:00.000Z",
          correlationid: "1",
          causationid: "1",
          traceparent: incoming.traceparent,
          data: value,
        },
      });
    },
  );

  test("a reply's id must be the same for a redelivery and another for another event", () => {
    const idOf = (event: CloudEvent) => {
      const answer = answerTo({ kind: "returned", value: {} }, event);
      return answer.kind === "event" ? answer.event.id : undefined;
    };
    expect(idOf(incoming)).toBe(idOf({ ...incoming, time: "2026-02-01T00:00:00Z" }));
    expect(idOf(incoming)).not.toBe(idOf({ ...incoming, id: "2" }));
    expect(idOf(incoming)).not.toBe(idOf({ ...incoming, source: "/other" }));
  });

  test("the reply type must be derived when none is declared", () => {
    expect(answerTo({ kind: "returned", value: {} }, incoming)).toMatchObject({
      event: { type: "order.placed.reply" },
    });
  });

  test("a correlation id must be inherited", () => {
    const answer = answerTo({ kind: "returned", value: {} }, { ...incoming, correlationid: "c-1" });
    expect(answer).toMatchObject({ event: { correlationid: "c-1", causationid: "1" } });
  });
});

describe("toAnswer of a returned event", () => {
  test("a cloudevents CloudEvent must pass with its own attributes", () => {
    const value = new SdkCloudEvent({
      id: "9",
      source: "/mine",
      type: "order.priced",
      data: { b: 2 },
      tenant: "t1",
    });
    const answer = answerTo({ kind: "returned", value }, incoming, "other");
    expect(answer).toMatchObject({
      kind: "event",
      event: {
        id: "9",
        source: "/mine",
        type: "order.priced",
        tenant: "t1",
        data: { b: 2 },
        causationid: "1",
      },
    });
  });

  test("an event for plain HTTP must pass too", () => {
    const value = { specversion: "1.0", type: "pong" };
    expect(answerTo({ kind: "returned", value }, undefined)).toMatchObject({
      kind: "event",
      event: { type: "pong", source: "/namespaces/default/functions/price" },
    });
  });

  test("the type of the incoming event must raise a warning", () => {
    const value = { specversion: "1.0", type: "order.placed" };
    expect(answerTo({ kind: "returned", value }, incoming)).toMatchObject({
      kind: "event",
      warning: expect.stringContaining("loops"),
    });
  });

  test("an event without a type must be a 500", () => {
    const answer = answerTo({ kind: "returned", value: { specversion: "1.0" } }, incoming);
    expect(answer).toMatchObject({ kind: "plain", status: 500 });
  });
});

describe("toAnswer of a failure", () => {
  const schema = z.object({ sku: z.string() });
  const invalid = () => {
    try {
      return schema.parse({});
    } catch (error) {
      return error;
    }
  };
  test.each([
    { name: "Reject", error: new Reject("no such order"), status: 422, text: "no such order" },
    { name: "NonRetryable", error: new NonRetryable("no"), status: 422, text: "no" },
    { name: "zod", error: invalid(), status: 422, text: "sku: Invalid input" },
    { name: "unparsable data", error: new DataUnparsable("not JSON"), status: 400, text: "not JSON" },
    { name: "RetryAfter", error: new RetryAfter(7), status: 503, text: "retry after 7 s" },
    { name: "Error", error: new TypeError("boom"), status: 500, text: "boom" },
    { name: "a string", error: "boom", status: 500, text: "boom" },
    { name: "nothing", error: undefined, status: 500, text: "undefined" },
  ])("$name must be $status", ({ error, status, text }) => {
    for (const request of [incoming, undefined]) {
      const answer = answerTo({ kind: "threw", error }, request);
      expect(answer).toMatchObject({
        kind: "plain",
        status,
        headers: { "content-type": "application/json" },
      });
      expect(JSON.parse(bodyOf(answer))).toMatchObject({ message: expect.stringContaining(text) });
      expect(bodyOf(answer)).not.toContain("handler.test");
    }
  });

  test("RetryAfter must say when", () => {
    const answer = answerTo({ kind: "threw", error: new RetryAfter(6.2) }, incoming);
    expect(answer).toMatchObject({ headers: { "retry-after": "7" } });
  });

  test("a passed deadline must be 504", () => {
    expect(answerTo({ kind: "deadline" }, incoming)).toMatchObject({ status: 504 });
  });

  test.each(["x".repeat(5000), "é".repeat(3000), "\u0001".repeat(2000)])(
    "a long message must be cut to 700 bytes",
    (text) => {
      const answer = answerTo({ kind: "threw", error: new Error(text) }, incoming);
      expect(Buffer.byteLength(bodyOf(answer))).toBeLessThanOrEqual(700);
      expect(JSON.parse(bodyOf(answer)).message.length).toBeGreaterThan(50);
    },
  );
});

describe("resolveExports", () => {
  const handle = () => undefined;
  const lifecycle = { init: () => {}, shutdown: () => {} };
  test.each<{ name: string; module: Record<string, unknown>; kind: string; rest?: object }>([
    { name: "default function", module: { default: handle }, kind: "event" },
    {
      name: "default function beside init",
      module: { default: handle, ...lifecycle },
      kind: "event",
      rest: lifecycle,
    },
    { name: "default object", module: { default: { handle, ...lifecycle } }, kind: "event", rest: lifecycle },
    { name: "default object with fetch", module: { default: { fetch: handle } }, kind: "fetch" },
    { name: "named handle", module: { handle, ...lifecycle }, kind: "event", rest: lifecycle },
    {
      name: "CommonJS",
      module: { default: { handle, readiness: handle } },
      kind: "event",
      rest: { ready: handle },
    },
    { name: "faas-js names", module: { handle, liveness: handle }, kind: "event", rest: { alive: handle } },
    {
      name: "defineFunction",
      module: { default: defineFunction({ handle, reply: "a.b" }) },
      kind: "event",
      rest: { reply: "a.b" },
    },
    { name: "a func create project", module: { knativeProject: { handle } }, kind: "event" },
  ])("must accept $name", ({ module, kind, rest = {} }) => {
    const found = resolveExports(module);
    expect(found.run.kind).toBe(kind);
    expect(found).toMatchObject(rest);
  });

  test.each([{}, { default: 5 }, { default: {} }, { fetch: handle }])(
    "must refuse %j and say what it found",
    (module) => {
      expect(() => resolveExports(module)).toThrow(/Expected a default export .*found/);
    },
  );
});
