import { describe, expect, test } from "vitest";
import { MeshError } from "../../../src/mesh/errors.ts";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";
import { isMediaType } from "../../../src/mesh/event/media-type.ts";
import { isTimestamp } from "../../../src/mesh/event/timestamp.ts";
import { isUri, isUriReference } from "../../../src/mesh/event/uri.ts";
import { requireName, requireValue } from "../../../src/mesh/event/validate.ts";

const base = { specversion: "1.0", id: "1", source: "/s", type: "t" };

/** The refusal of what `call` does. */
function refusal(call: () => unknown): MeshError {
  try {
    call();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe("requireName (spec.md, Naming Attributes)", () => {
  test.each(["a", "z9", "1abc", "x".repeat(30), "constructor", "tostring"])("accepts %s", (name) => {
    expect(() => requireName(name)).not.toThrow();
  });
  test.each(["", "A", "my_ext", "my-ext", "a.b", "é", "a b", "data", "data_base64", "__proto__", "\u212a"])(
    "refuses %j",
    (name) => {
      expect(refusal(() => requireName(name)).code).toBe("EVENT_INVALID");
    },
  );
});

describe("requireValue (spec.md, Type System)", () => {
  test.each([
    ["ext", ""],
    ["ext", "a\u00a0é€😀\ufffd\ufeff"],
    ["id", " "],
    ["source", "1-555-123-4567"],
    ["datacontenttype", "text/plain; charset=utf-8"],
    ["specversion", "1.0"],
    ["specversion", "0.3"],
  ])("accepts %s %j", (name, value) => {
    expect(() => requireValue(name, value)).not.toThrow();
  });
  test.each([
    ["ext", "\0"],
    ["ext", "a\nb"],
    ["ext", "a\tb"],
    ["ext", "\x7f"],
    ["ext", "\x9f"],
    ["ext", "\ud800"],
    ["ext", "\udc00a"],
    ["ext", "\uffff"],
    ["ext", "\ufdd0"],
    ["ext", "\u{1fffe}"],
    ["id", ""],
    ["type", ""],
    ["source", ""],
    ["source", "a b"],
    ["subject", ""],
    ["time", ""],
    ["datacontenttype", ""],
    ["specversion", ""],
    ["specversion", "1"],
    ["specversion", "1.1"],
    ["specversion", "0.9"],
    ["specversion", "2.0"],
    ["specversion", "1.0 "],
  ])("refuses %s %j", (name, value) => {
    const { code, detail } = refusal(() => requireValue(name, value));
    expect(code).toBe("EVENT_INVALID");
    expect(detail.field).toBe(name);
    expect(detail.expected).toBeTruthy();
    expect(detail.found).toMatch(/^"[\x20-\x7e…]*"$/);
  });
  test("shows the beginning of a value only, escaped", () => {
    const { detail } = refusal(() => requireValue("ext", `\x1b[31m"${"é".repeat(500)}`));
    expect(detail.found).toMatch(/^"\\u001b\[31m\\"(?:\\u00e9)+…"$/);
    expect(detail.found?.length).toBeLessThan(500);
  });
});

describe("completeAttributes (spec.md, REQUIRED Attributes)", () => {
  test.each(["specversion", "id", "source", "type"])("refuses an event without %s", (name) => {
    const { detail } = refusal(() => attributesOf({ ...base, [name]: undefined }));
    expect(detail.field).toBe(name);
  });
  test.each(["https://h/s.json", "urn:x:y", "http://h/s#/defs/a"])("accepts dataschema %s", (dataschema) => {
    expect(attributesOf({ ...base, dataschema }).dataschema).toBe(dataschema);
  });
  test.each(["", "/relative", "s.json", "http://h/a b"])("refuses dataschema %j", (dataschema) => {
    expect(refusal(() => attributesOf({ ...base, dataschema })).detail.field).toBe("dataschema");
  });
  test("checks the attributes of 0.3 in 0.3 only", () => {
    const base03 = { ...base, specversion: "0.3" };
    expect(refusal(() => attributesOf({ ...base03, schemaurl: "/x" })).detail.field).toBe("schemaurl");
    expect(refusal(() => attributesOf({ ...base03, datacontentencoding: "7bit" })).detail.field).toBe(
      "datacontentencoding",
    );
    expect(attributesOf({ ...base03, dataschema: "/x", datacontentencoding: "Base64" }).specversion).toBe(
      "0.3",
    );
    expect(attributesOf({ ...base, schemaurl: "/x", datacontentencoding: "7bit" }).specversion).toBe("1.0");
  });
});

describe("isTimestamp (RFC 3339)", () => {
  test.each([
    "2026-01-31T12:00:00Z",
    "2026-01-31t12:00:00z",
    "2026-01-31T12:00:00.1+01:00",
    "2026-01-31T12:00:00.123456789012345678-23:59",
    "2026-01-31T12:00:00-00:00",
    "2016-12-31T23:59:60Z",
    "2017-01-01T05:29:60.5+05:30",
    "2000-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z",
  ])("accepts %s", (text) => {
    expect(isTimestamp(text)).toBe(true);
  });
  test.each([
    "",
    "2026-01-31",
    "2026-01-31T12:00Z",
    "2026-01-31T12:00:00",
    "2026-01-31 12:00:00Z",
    "2026-01-31T12:00:00,5Z",
    "2026-01-31T12:00:00.Z",
    "2026-01-31T12:00:00+05",
    "2026-01-31T12:00:00+0530",
    "2026-01-31T12:00:00+25:00",
    "2026-01-31T12:00:00+01:60",
    "2026-01-31T24:00:00Z",
    "2026-01-31T12:60:00Z",
    "2026-01-31T12:00:61Z",
    "2026-01-31T12:00:60Z",
    "2026-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "26-01-31T12:00:00Z",
    "+2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00Z ",
    "2026-01-31T12:00:00ZZ",
    "２026-01-31T12:00:00Z",
  ])("refuses %j", (text) => {
    expect(isTimestamp(text)).toBe(false);
  });
});

describe("isUriReference (RFC 3986 §4.1)", () => {
  test.each([
    "",
    "/x",
    "#frag",
    "?q",
    "1-555-123-4567",
    "https://user:pw@h.example:8080/a;b=c/d?e=f/?g#h?/",
    "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "mailto:a@b.example",
    "/a:b",
    "./a:b",
    "a/b:c",
    "//host/path",
    "http://[::1]:80/",
    "http://[::ffff:1.2.3.4]",
    "http://[v1.a:b]/",
    "http://h:",
    "file:///etc",
    "/a%20b%C3%A9",
    "a+b.c-d:x",
  ])("accepts %j", (text) => {
    expect(isUriReference(text)).toBe(true);
  });
  test.each([
    "a b",
    "/é",
    "/<x>",
    '/"',
    "/{x}",
    "/a|b",
    "/a\\b",
    "/a^b",
    "/`",
    "/%",
    "/%zz",
    "/%2",
    ":a",
    "1a:b",
    "a_b:c",
    "#a#b",
    "/a[0]",
    "?a[0]=b",
    "http://[::1",
    "http://[::1]x",
    "http://[1]/",
    "http://[zz]/",
    "http://a@b@c/",
    "http://h:80a/",
    "http://h/[",
    "http://[::1]@h/",
  ])("refuses %j", (text) => {
    expect(isUriReference(text)).toBe(false);
  });
  test.each([
    ["http://h/x#f", true],
    ["urn:x", true],
    ["/x", false],
    ["x", false],
    ["", false],
  ])("isUri asks for a scheme: %j is %s", (text, expected) => {
    expect(isUri(text)).toBe(expected);
  });
});

describe("isMediaType (RFC 2046, RFC 9110 §8.3.1)", () => {
  test.each([
    "application/json",
    "Text/Plain",
    "application/vnd.x+json",
    "text/plain;charset=utf-8",
    "text/plain ; charset=utf-8",
    'multipart/mixed; boundary="a;b \\" c"; x=y',
    "text/plain;",
    "text/plain;;a=b",
    "*/*",
  ])("accepts %j", (text) => {
    expect(isMediaType(text)).toBe(true);
  });
  test.each([
    "",
    "json",
    "application/",
    "/json",
    "application /json",
    "application/json/x",
    " application/json",
    "application/json ",
    "application/json; ",
    "application/json; a",
    "application/json; a=",
    "application/json; =a",
    'application/json; a="b',
    "application/json, text/plain",
    "application/é",
  ])("refuses %j", (text) => {
    expect(isMediaType(text)).toBe(false);
  });
});

test.each([
  ["isUriReference", (size: number) => isUriReference(`${"a:".repeat(size)} `)],
  ["isMediaType", (size: number) => isMediaType(`a/b${"; ".repeat(size)}!`)],
  ["isTimestamp", (size: number) => isTimestamp(`2026-01-31T12:00:00.${"1".repeat(size)}`)],
])("%s ends on megabytes that nearly fit", (_, check) => {
  expect(check(1_000_000)).toBe(false);
});
