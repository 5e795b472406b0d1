import { describe, expect, test } from "vitest";
import { attributesBytes, attributesOf, withAttributes } from "../../../src/mesh/event/attributes.ts";

const base = { specversion: "1.0", id: "1", source: "/s", type: "t" };
const event = { attributes: attributesOf({ ...base, ext: "old", other: "o" }), data: Buffer.from("x") };

describe("attributesOf", () => {
  test("inherits no names and leaves undefined out", () => {
    const attributes = attributesOf({ ...base, ext: undefined });
    expect(Object.keys(attributes)).toEqual(["specversion", "id", "source", "type"]);
    for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
      expect(name in attributes).toBe(false);
    }
  });

  test("puts the core attributes first, then the rest as they came", () => {
    const attributes = attributesOf({
      zeta: "1",
      time: "2026-01-31T12:00:00Z",
      alpha: "2",
      ...base,
    });
    expect(Object.keys(attributes)).toEqual(["specversion", "id", "source", "type", "time", "zeta", "alpha"]);
  });

  test("takes as many attributes as fit", () => {
    const many = Object.fromEntries(Array.from({ length: 4000 }, (_, at) => [`e${at}`, "v"]));
    expect(Object.keys(attributesOf({ ...base, ...many })).length).toBe(4004);
  });

  test("refuses what is larger than a header block may be", () => {
    const exact = { ...base, ext: "x".repeat(100) };
    const bytes = attributesBytes(attributesOf(exact));
    expect(attributesOf(exact, { attributesBytesMax: bytes }).ext?.length).toBe(100);
    expect(() => attributesOf(exact, { attributesBytesMax: bytes - 1 })).toThrow(
      expect.objectContaining({ code: "HEADERS_TOO_LARGE" }),
    );
  });
});

describe("withAttributes", () => {
  test("sets, replaces and removes without touching the original", () => {
    const changed = withAttributes(event, { ext: "new", other: undefined, more: "m", absent: undefined });
    expect({ ...changed.attributes }).toEqual({ ...base, ext: "new", more: "m" });
    expect(changed.data).toBe(event.data);
    expect(event.attributes.ext).toBe("old");
  });

  test.each([
    ["an invalid value", { time: "x" }],
    ["an invalid name", { my_ext: "x" }],
    ["losing a required one", { id: undefined }],
  ])("refuses %s", (_, changes) => {
    expect(() => withAttributes(event, changes)).toThrow(expect.objectContaining({ code: "EVENT_INVALID" }));
  });
});

test("attributesBytes counts the encoded header block", () => {
  const text = Object.entries({ ...base, ext: "a€" })
    .map(([name, value]) => `ce-${name}: ${value.replace("€", "%E2%82%AC")}\r\n`)
    .join("");
  expect(attributesBytes(attributesOf({ ...base, ext: "a€" }))).toBe(text.length);
});
