import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  byteStringOfText,
  decodeHeaderValue,
  encodeHeaderValue,
  isPlainHeaderValue,
  needsEncoding,
  textOfByteString,
} from "../../../src/mesh/event/header-value.ts";
import { hostileText } from "../../fuzz/arbitrary-event.ts";

const property = { seed: 7, numRuns: 1000 };

describe("encodeHeaderValue (HTTP binding §3.1.3.2)", () => {
  test.each([
    ["Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"],
    ["100%", "100%25"],
    ['a"b', "a%22b"],
    ["/a%20b", "/a%2520b"],
    ["a,b;c=d", "a,b;c=d"],
    ["~!'()*", "~!'()*"],
    ["a\\b", "a\\b"],
    ["", ""],
    ["\u00a0", "%C2%A0"],
  ])("writes %j as %s", (value, header) => {
    expect(encodeHeaderValue(value)).toBe(header);
    expect(needsEncoding(value)).toBe(value !== header);
    expect(decodeHeaderValue(header)).toBe(value);
  });

  test("writes only U+0021..U+007E and reads back every valid string", () => {
    fc.assert(
      fc.property(hostileText, (value) => {
        const header = encodeHeaderValue(value);
        expect(header).toMatch(/^[\x21-\x7e]*$/);
        expect(decodeHeaderValue(header)).toBe(value);
      }),
      property,
    );
  });
});

describe("decodeHeaderValue (HTTP binding §3.1.3.2)", () => {
  test.each([
    ["%e2%82%ac", "€"],
    ["%41", "A"],
    ['"a b"', "a b"],
    ['"a\\"b"', 'a"b'],
    ['"a\\\\b"', "a\\b"],
    ['"%41\\%42"', "AB"],
    ['""', ""],
    ["%2520", "%20"],
    ["a+b", "a+b"],
    ["100%", "100%"],
    ["%zz%4", "%zz%4"],
    ['"open', '"open'],
    ['"a" b"', '"a" b"'],
    ['"a\\"', '"a\\"'],
    ['"', '"'],
    ['a"b"', 'a"b"'],
    ["(comment) x", "(comment) x"],
  ])("reads %s as %j", (header, value) => {
    expect(decodeHeaderValue(header)).toBe(value);
  });

  test.each([
    ["overlong", "%C0%A0"],
    ["a surrogate", "%ED%A0%80"],
    ["over U+10FFFF", "%F4%90%80%80"],
    ["truncated", "%E2%82"],
    ["a lone continuation", "a%80b"],
    ["broken by a character", "%E2x%82%AC"],
  ])("refuses UTF-8 that is %s", (_, header) => {
    expect(decodeHeaderValue(header)).toBeUndefined();
  });

  test("leaves a plain value as it is", () => {
    fc.assert(
      fc.property(hostileText.filter(isPlainHeaderValue), (value) => {
        expect(decodeHeaderValue(value)).toBe(value);
      }),
      property,
    );
  });

  test.each([
    ["escapes", "%41".repeat(1_000_000), "A".repeat(1_000_000)],
    ["quoted escapes", `"${"\\a".repeat(1_000_000)}"`, "a".repeat(1_000_000)],
  ])("reads megabytes of %s", (_, header, value) => {
    expect(decodeHeaderValue(header) === value).toBe(true);
  });
});

test.each([
  ["é sent raw as UTF-8", "\u00c3\u00a9", "é"],
  ["ASCII", "abc", "abc"],
  ["latin-1", "\u00e9", undefined],
  ["half a character", "\u00e2\u0082", undefined],
  ["no byte string at all", "€", undefined],
])("textOfByteString reads %s", (_, raw, text) => {
  expect(textOfByteString(raw)).toBe(text);
  if (text !== undefined) expect(byteStringOfText(text)).toBe(raw);
});
