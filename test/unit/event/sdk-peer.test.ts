import { CloudEvent, HTTP } from "cloudevents";
import { describe, expect, test } from "vitest";
import type { Event } from "../../../src/mesh/event/event.ts";
import { decodeHttp, encodeBinaryHeaders, encodeStructured } from "../../../src/mesh/event/http.ts";
import { eventFromJson } from "../../../src/mesh/event/json.ts";

/** The `cloudevents` package as a foreign peer: what it emits is accepted, what we emit it reads back. */

const attributes = {
  id: "1",
  source: "/shop/eu",
  type: "com.example.order",
  time: "2026-01-31T12:00:00.000Z",
  subject: "orders/1",
  partitionkey: "k",
};
const peers: readonly [string, Partial<CloudEvent<unknown>>, string | undefined][] = [
  ["an object", { datacontenttype: "application/json", data: { a: [1, "é"] } }, '{"a":[1,"é"]}'],
  ["text", { datacontenttype: "text/plain", data: "hello" }, "hello"],
  ["no data", {}, undefined],
  [
    "extensions of other types",
    { data: { a: 1 }, datacontenttype: "application/json", count: 5, flag: true },
    '{"a":1}',
  ],
];

function decode(headers: Readonly<Record<string, unknown>>, body: unknown): Event {
  const raw = Object.entries(headers).flatMap(([name, value]) => [name, `${value}`]);
  const decoded = decodeHttp(raw, body === undefined ? Buffer.alloc(0) : Buffer.from(body as string));
  if (decoded.kind !== "event") throw new Error("expected one event");
  return decoded.event;
}

describe("the cloudevents package", () => {
  test.each(peers)("emits binary events that are accepted: %s", (_, more, data) => {
    const message = HTTP.binary(new CloudEvent({ ...attributes, ...more }));
    const event = decode(message.headers, message.body);
    expect(event.attributes).toMatchObject(attributes);
    expect(event.data === undefined ? undefined : Buffer.from(event.data).toString()).toBe(data);
  });

  test.each(peers)("emits structured events that are accepted: %s", (_, more, data) => {
    const message = HTTP.structured(new CloudEvent({ ...attributes, ...more }));
    const event = decode(message.headers, message.body);
    expect(event.attributes).toMatchObject(attributes);
    expect(event.data === undefined ? undefined : Buffer.from(event.data).toString()).toBe(data);
  });

  test.each(peers)("reads our structured form back: %s", (_, more) => {
    const event = eventFromJson({ specversion: "1.0", ...attributes, ...more });
    const { contentType, body } = encodeStructured(event);
    const read = HTTP.toEvent({
      headers: { "content-type": contentType },
      body: Buffer.from(body).toString(),
    });
    expect(read).toMatchObject({ ...attributes, ...(more.data === undefined ? {} : { data: more.data }) });
  });

  test("reads values in our structured form that it cannot read in binary", () => {
    const event = eventFromJson({ specversion: "1.0", ...attributes, ext: 'Euro € 😀 100% "q"' });
    const { contentType, body } = encodeStructured(event);
    const read = HTTP.toEvent({
      headers: { "content-type": contentType },
      body: Buffer.from(body).toString(),
    });
    expect(read).toMatchObject({ ext: 'Euro € 😀 100% "q"' });
  });

  test("reads our binary form back", () => {
    const event = eventFromJson({
      specversion: "1.0",
      ...attributes,
      datacontenttype: "application/json",
      data: { a: 1 },
    });
    const headers: Record<string, string> = {};
    const raw = encodeBinaryHeaders(event);
    for (let at = 0; at + 1 < raw.length; at += 2) headers[raw[at] ?? ""] = raw[at + 1] ?? "";
    const read = HTTP.toEvent({ headers, body: Buffer.from(event.data ?? []).toString() });
    expect(read).toMatchObject({ ...attributes, data: { a: 1 } });
  });

  test.each([
    ["JSON data", { datacontenttype: "application/json", data: { a: 1 } }, '{"a":1}'],
    ["bytes", { datacontenttype: "image/png", data: Uint8Array.of(65, 66) }, "AB"],
    ["text", { datacontenttype: "text/plain", data: "x" }, "x"],
  ])("gives events that eventFromJson takes: %s", (_, more, data) => {
    const event = eventFromJson(new CloudEvent<unknown>({ ...attributes, ...more }));
    expect(event.attributes).toMatchObject({ ...attributes, datacontenttype: more.datacontenttype });
    expect(Buffer.from(event.data ?? []).toString()).toBe(data);
  });
});
