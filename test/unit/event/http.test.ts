import { describe, expect, test } from "vitest";
import { MeshError } from "../../../src/mesh/errors.ts";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";
import type { Event } from "../../../src/mesh/event/event.ts";
import {
  decodeHttp,
  decodeHttpResponse,
  encodeBinaryHeaders,
  encodeStructured,
  headerOf,
  needsStructured,
} from "../../../src/mesh/event/http.ts";

const nothing = new Uint8Array(0);
const required = ["ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "t"];
const base = { specversion: "1.0", id: "1", source: "/s", type: "t" };
const inJson = '{"specversion":"1.0","id":"1","source":"/s","type":"t"}';

function decodeEvent(rawHeaders: readonly string[], body: Uint8Array | string = nothing): Event {
  const decoded = decodeHttp(rawHeaders, Buffer.from(body));
  if (decoded.kind !== "event") throw new Error("expected one event");
  return decoded.event;
}

function refusal(rawHeaders: readonly string[], body: Uint8Array | string = nothing): MeshError {
  try {
    decodeHttp(rawHeaders, Buffer.from(body));
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe("decodeHttp mode (sheet §2.1)", () => {
  test.each([
    "application/cloudevents+json",
    "application/cloudevents+json; charset=UTF-8",
    "application/cloudevents+json;charset=utf-8",
    'Application/CloudEvents+JSON ; x=y ; Charset="UTF-8"',
    "application/cloudevents+json; charset=us-ascii",
  ])("reads %s as structured", (type) => {
    expect({ ...decodeEvent(["Content-Type", type], inJson).attributes }).toEqual(base);
  });

  test.each(["application/cloudevents-batch+json", "Application/CloudEvents-Batch+JSON; charset=utf-8"])(
    "reads %s as a batch",
    (type) => {
      const decoded = decodeHttp(["content-type", type], Buffer.from(`[${inJson},${inJson}]`));
      expect(decoded.kind === "batch" && decoded.events.length).toBe(2);
      expect(decodeHttp(["content-type", type], Buffer.from("[]"))).toEqual({ kind: "batch", events: [] });
    },
  );

  test.each([
    "application/cloudevents",
    "application/cloudevents+avro",
    "application/cloudevents+xml",
    "application/cloudevents-batch+xml",
    "application/cloudevents+json; charset=utf-16",
    "application/cloudevents-batch+json; charset=iso-8859-1",
  ])("refuses %s with 415", (type) => {
    expect(refusal(["Content-Type", type], inJson).status).toBe(415);
  });

  test("takes an unknown format with ce- headers as binary", () => {
    const event = decodeEvent([...required, "Content-Type", "application/cloudevents+avro"], "x");
    expect(event.attributes.datacontenttype).toBe("application/cloudevents+avro");
    expect(Buffer.from(event.data ?? []).toString()).toBe("x");
  });

  test("lets the payload alone count in structured mode", () => {
    const headers = ["ce-id", "other", "ce-id", "again", "ce-my_ext", "x"];
    expect(
      decodeEvent([...headers, "Content-Type", "application/cloudevents+json"], inJson).attributes.id,
    ).toBe("1");
  });
});

describe("decodeHttp binary (sheet §2.2, §2.4)", () => {
  test("takes Content-Type verbatim as datacontenttype and the body untouched", () => {
    const event = decodeEvent([...required, "content-TYPE", "Text/Plain;  charset=x%41"], "\0data");
    expect({ ...event.attributes }).toEqual({ ...base, datacontenttype: "Text/Plain;  charset=x%41" });
    expect(Buffer.from(event.data ?? []).toString()).toBe("\0data");
  });

  test("invents nothing", () => {
    const event = decodeEvent(["Host", "h", "traceparent", "00-x", ...required]);
    expect(event).toEqual({ attributes: base, data: undefined });
  });

  test("matches names in any case", () => {
    const raw = ["CE-SpecVersion", "1.0", "Ce-Id", "1", "cE-Source", "/s", "ce-TYPE", "t", "Ce-MyExt", "x"];
    expect({ ...decodeEvent(raw).attributes }).toEqual({ ...base, myext: "x" });
  });

  test.each([
    ["%e2%82%ac", "€"],
    ['"a\\"b"', 'a"b'],
    ["%2520", "%20"],
    ["100%", "100%"],
    ["a b", "a b"],
    ["caf\u00c3\u00a9", "café"],
    ["a, b", "a, b"],
    ["", ""],
  ])("decodes ce-ext: %s to %j", (raw, value) => {
    expect(decodeEvent([...required, "ce-ext", raw]).attributes.ext).toBe(value);
  });

  test("decodes the source once", () => {
    const raw = ["ce-specversion", "1.0", "ce-id", "1", "ce-source", "/a%2520b", "ce-type", "t"];
    expect(decodeEvent(raw).attributes.source).toBe("/a%20b");
  });

  test.each([
    ["no ce-specversion", [], "specversion"],
    ["an unsupported specversion", ["ce-specversion", "1.1", ...required.slice(2)], "specversion"],
    ["a missing id", required.filter((_, at) => at !== 2 && at !== 3), "id"],
    ["an empty type", ["ce-type", "", ...required.slice(0, 6)], "type"],
    ["an invalid time", [...required, "ce-time", "yesterday"], "time"],
    ["an empty time", [...required, "ce-time", ""], "time"],
    ["an empty subject", [...required, "ce-subject", ""], "subject"],
    ["an empty dataschema", [...required, "ce-dataschema", ""], "dataschema"],
    ["an empty Content-Type", [...required, "Content-Type", ""], "datacontenttype"],
    ["a Content-Type that is none", [...required, "Content-Type", "json"], "datacontenttype"],
    ["two Content-Types", [...required, "Content-Type", "a/b", "content-type", "a/b"], "datacontenttype"],
    ["ce-datacontenttype", [...required, "ce-datacontenttype", "a/b"], "datacontenttype"],
    ["a header twice", [...required, "ce-id", "1"], "id"],
    ["a header twice in another case", [...required, "ce-ext", "1", "CE-EXT", "1"], "ext"],
    ["ce-data", [...required, "ce-data", "x"], "data"],
    ["a name with underscore", [...required, "ce-my_ext", "x"], "my_ext"],
    ["a name with hyphen", [...required, "ce-my-ext", "x"], "my-ext"],
    ["no name", [...required, "ce-", "x"], ""],
    ["a control character", [...required, "ce-ext", "a%0Ab"], "ext"],
    ["a raw tab", [...required, "ce-ext", "a\tb"], "ext"],
    ["bad UTF-8 in escapes", [...required, "ce-ext", "%C0%A0"], "ext"],
    ["bad UTF-8 in raw bytes", [...required, "ce-ext", "\u00e9"], "ext"],
    [
      "a source that is an IRI once decoded",
      ["ce-source", "/%C3%A9", ...required.slice(0, 4), "ce-type", "t"],
      "source",
    ],
  ])("refuses %s with 400 (sheet §2.5)", (_, raw, field) => {
    const { status, detail } = refusal(raw);
    expect(status).toBe(400);
    expect(detail.field).toBe(field);
  });

  test("accepts 0.3 and leaves it 0.3", () => {
    const raw = ["ce-specversion", "0.3", ...required.slice(2), "ce-datacontentencoding", "base64"];
    const event = decodeEvent(raw, "QQ==");
    expect({ ...event.attributes }).toEqual({ ...base, specversion: "0.3", datacontentencoding: "base64" });
    expect(Buffer.from(event.data ?? []).toString()).toBe("QQ==");
  });

  test("accepts 64 KiB less a little of attributes and refuses more with 431", () => {
    const large = "x".repeat(64 * 1024 - 100);
    expect(decodeEvent([...required, "ce-ext", large]).attributes.ext?.length).toBe(large.length);
    expect(refusal([...required, "ce-ext", `${large}${"x".repeat(100)}`]).status).toBe(431);
    // 12 bytes of percent-encoding for each emoji of two UTF-16 units.
    expect(refusal([...required, "ce-ext", "%F0%9F%98%80".repeat(6000)]).status).toBe(431);
  });

  test("refuses a body over the caller's limit with 413", () => {
    const decode = () => decodeHttp(required, Buffer.from("12345"), { bodyBytesMax: 4 });
    expect(decode).toThrow(expect.objectContaining({ code: "EVENT_TOO_LARGE" }));
    expect(decodeHttp(required, Buffer.from("1234"), { bodyBytesMax: 4 }).kind).toBe("event");
  });
});

describe("encodeBinaryHeaders", () => {
  test("writes flat pairs with encoded values and the content type verbatim", () => {
    const attributes = attributesOf({ ...base, subject: "a b", datacontenttype: 'text/x; a="€ b"', ext: "" });
    expect(encodeBinaryHeaders({ attributes, data: undefined })).toEqual([
      ...required,
      "content-type",
      'text/x; a="\u00e2\u0082\u00ac b"',
      "ce-subject",
      "a%20b",
      "ce-ext",
      "",
    ]);
  });
});

describe("needsStructured", () => {
  test.each([
    [{}, false],
    [{ datacontenttype: "text/plain; charset=utf-8" }, false],
    [{ datacontenttype: 'text/x; a="€"' }, true],
    [{ ext: "a b" }, true],
    [{ ext: "100%" }, true],
    [{ subject: "é" }, true],
    [{ source: "/a%20b" }, true],
    [{ datacontenttype: "application/cloudevents+avro" }, false],
  ])("of %j is %s when the format is left open", (more, expected) => {
    const event = { attributes: attributesOf({ ...base, ...more }), data: undefined };
    expect(needsStructured(event)).toBe(expected);
    expect(needsStructured(event, "binary")).toBe(false);
    expect(needsStructured(event, "json")).toBe(true);
  });

  test("is true even for binary when the receiver would unpack the data", () => {
    const datacontenttype = "Application/CloudEvents+json; charset=utf-8";
    expect(
      needsStructured({ attributes: attributesOf({ ...base, datacontenttype }), data: undefined }, "binary"),
    ).toBe(true);
  });
});

test("encodeStructured spells the type as the SDKs know it", () => {
  const { contentType, body } = encodeStructured({ attributes: attributesOf(base), data: undefined });
  expect(contentType).toBe("application/cloudevents+json");
  expect(Buffer.from(body).toString()).toBe(inJson);
});

describe("decodeHttpResponse (sheet §2.5, replies)", () => {
  test.each([
    ["an empty answer", [], ""],
    ["an ordinary body", ["Content-Type", "application/json"], "{}"],
    ["ce- headers without specversion", ["ce-id", "1", "Content-Type", "text/plain"], "x"],
  ])("finds no event in %s", (_, headers, body) => {
    expect(decodeHttpResponse(headers, Buffer.from(body))).toEqual({ kind: "none" });
  });

  test.each([
    ["binary, raw headers", required, ""],
    [
      "binary, a record of headers",
      { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t" },
      "",
    ],
    ["structured", { "content-type": "application/cloudevents+json" }, inJson],
  ])("reads an event: %s", (_, headers, body) => {
    const decoded = decodeHttpResponse(headers, Buffer.from(body));
    expect(decoded).toEqual({ kind: "event", event: { attributes: base, data: undefined } });
  });

  test.each([
    ["an incomplete binary event", ["ce-specversion", "1.0"], ""],
    ["a duplicated header", { "ce-specversion": ["1.0", "1.0"] }, ""],
    ["broken JSON", ["content-type", "application/cloudevents+json"], "{"],
    ["an unknown format", ["content-type", "application/cloudevents+avro"], "x"],
    ["a batch", ["content-type", "application/cloudevents-batch+json"], `[${inJson}]`],
    ["two Content-Types", ["content-type", "a/b", "content-type", "a/b"], ""],
  ])("says why %s is none", (_, headers, body) => {
    const decoded = decodeHttpResponse(headers, Buffer.from(body));
    expect(decoded.kind === "malformed" && decoded.reason).toMatch(/\w{4}/);
  });
});

describe("headerOf", () => {
  test.each([
    ["raw", ["A", "1", "Retry-After", "2", "retry-after", "3"]],
    ["a record", { "retry-after": "2", a: "1" }],
    ["a record of several values", { "retry-after": ["2", "3"] }],
  ])("is the first value in headers that are %s", (_, headers) => {
    expect(headerOf(headers, "retry-after")).toBe("2");
    expect(headerOf(headers, "retry-afters")).toBeUndefined();
  });
});
