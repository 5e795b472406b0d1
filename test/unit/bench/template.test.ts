import { CloudEvent, type CloudEventV1, HTTP } from "cloudevents";
import { expect, test } from "vitest";
import { MessageReader } from "../../../bench/message.ts";
import { type EventShape, RequestTemplate } from "../../../bench/template.ts";

const url = new URL("http://h:1/ns/b");

function template(mode: EventShape["mode"]): RequestTemplate {
  return new RequestTemplate(url, { mode, size: 100, type: "t", batch: 2, idPrefix: "p-" });
}

/** The one message in these bytes, read by the CloudEvents project's own library. */
function eventsIn(request: Buffer): CloudEventV1<unknown>[] {
  const messages: { head: string; body: string }[] = [];
  new MessageReader((head, body) => messages.push({ head: `${head}`, body: `${body}` })).push(
    Buffer.from(request),
  );
  expect(messages).toHaveLength(1);
  const { head = "", body = "" } = messages[0] ?? {};
  expect(head).toMatch(/^POST \/ns\/b HTTP\/1\.1\r\nhost: h:1\r\n/);
  const fields = head.split("\r\n").slice(1, -2);
  const headers = Object.fromEntries(fields.map((field) => field.split(": ") as [string, string]));
  const found = HTTP.toEvent({ headers, body });
  return (Array.isArray(found) ? found : [found]) as CloudEventV1<unknown>[];
}

const modes = [
  { mode: "binary", count: 1 },
  { mode: "structured", count: 1 },
  { mode: "batch", count: 2 },
] as const;

test.each(modes)("next must make whole $mode requests of valid events", ({ mode, count }) => {
  const of = template(mode);
  expect(of.eventsPerRequest).toBe(count);
  for (const sentUs of [42, 9_876_543_210_987]) {
    const events = eventsIn(of.next(sentUs));
    expect(events).toHaveLength(count);
    for (const event of events) {
      expect(() => new CloudEvent(event).validate()).not.toThrow();
      expect(event).toMatchObject({ type: "t", source: "/bench" });
      expect(Number(event.sentus)).toBe(sentUs);
      expect(JSON.stringify(event.data)).toHaveLength(100);
    }
  }
});

test.each(modes)("next must give every event of a $mode request an id of its own", ({ mode, count }) => {
  const of = template(mode);
  const ids = Array.from({ length: 12 }, () => eventsIn(of.next(1)).map(({ id }) => id)).flat();
  expect(new Set(ids).size).toBe(12 * count);
  expect(ids.every((id) => id.startsWith("p-"))).toBe(true);
});

test("detach must leave the bytes of the last request as they are", () => {
  const of = template("binary");
  const held = of.next(1);
  const before = Buffer.from(held);
  of.detach();
  expect(of.next(2)).not.toEqual(before);
  expect(held).toEqual(before);
});
