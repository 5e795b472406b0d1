import type { CloudEventV1 } from "cloudevents";
import { describe, expect, test } from "vitest";
import { DataUnparsable, fromAuthorEvent, toAuthorEvent } from "../../../src/mesh/sdk/author-event.ts";
import type { CloudEvent } from "../../../src/mesh/sdk/sdk.ts";

const required = { specversion: "1.0", id: "1", source: "/s", type: "t" };
const bytes = (text: string) => new TextEncoder().encode(text);

describe("toAuthorEvent", () => {
  test.each([
    { contentType: "application/json", data: '{"a":1}', expected: { a: 1 } },
    { contentType: "application/vnd.x+json; charset=utf-8", data: "[1]", expected: [1] },
    { contentType: "application/json", data: '"x"', expected: "x" },
    { contentType: "text/plain", data: "x", expected: "x" },
    { contentType: "application/octet-stream", data: "x", expected: bytes("x") },
    { contentType: undefined, data: '{"a":1}', expected: { a: 1 } },
    { contentType: undefined, data: "no json", expected: bytes("no json") },
    { contentType: "application/json", data: undefined, expected: undefined },
  ])("data $data of $contentType must be $expected", ({ contentType, data, expected }) => {
    const attributes = {
      ...required,
      ...(contentType === undefined ? {} : { datacontenttype: contentType }),
    };
    const event = toAuthorEvent({ attributes, data: data === undefined ? undefined : bytes(data) });
    expect(event).toEqual({ ...attributes, data: expected });
  });

  test("JSON that is none must be DataUnparsable", () => {
    const attributes = { ...required, datacontenttype: "application/json" };
    expect(() => toAuthorEvent({ attributes, data: bytes("{") })).toThrow(DataUnparsable);
  });

  test("an author's event must be usable as the cloudevents package's", () => {
    const event: CloudEvent<{ a: number }> = { ...required, data: { a: 1 } };
    const theirs: CloudEventV1<{ a: number }> = event;
    expect(theirs.data?.a).toBe(1);
  });
});

describe("fromAuthorEvent", () => {
  test("extensions must become canonical strings", () => {
    const event = fromAuthorEvent({
      ...required,
      count: 5,
      flag: true,
      at: new Date(0),
      raw: new Uint8Array([1, 2]),
      gone: undefined,
    });
    expect({ ...event.attributes }).toEqual({
      ...required,
      count: "5",
      flag: "true",
      at: "1970-01-01T00:00:00.000Z",
      raw: "AQI=",
    });
  });

  test.each([
    { data: { a: 1 }, contentType: "application/json", text: '{"a":1}' },
    { data: "x", contentType: "text/plain; charset=utf-8", text: "x" },
    { data: bytes("x"), contentType: "application/octet-stream", text: "x" },
  ])("data $data must be encoded as $contentType", ({ data, contentType, text }) => {
    const event = fromAuthorEvent({ ...required, data });
    expect(event.attributes.datacontenttype).toBe(contentType);
    expect(Buffer.from(event.data ?? []).toString()).toBe(text);
  });

  test("a string under a JSON content type must stay the same value both ways", () => {
    const event = fromAuthorEvent({ ...required, datacontenttype: "application/json", data: "x" });
    expect(Buffer.from(event.data ?? []).toString()).toBe('"x"');
    expect(toAuthorEvent(event).data).toBe("x");
  });

  test("data_base64 of the cloudevents package must be read when there is no data", () => {
    const event = fromAuthorEvent({ ...required, data_base64: "aGk=" });
    expect(Buffer.from(event.data ?? []).toString()).toBe("hi");
  });

  test.each([
    [{ myName: "x" }, /a-z and 0-9/],
    [{ ratio: 1.5 }, /attribute ratio/],
    [{ nested: {} }, /attribute nested/],
    [{ id: "" }, /id/],
    [{ source: "a b" }, /source/],
  ])("%j must be refused by name", (extra, message) => {
    expect(() => fromAuthorEvent({ ...required, ...extra })).toThrow(message);
  });
});
