import { describe, expect, test } from "vitest";
import { parseFields } from "../../../src/mesh/http1/fields.ts";

describe("parseFields", () => {
  test.each([
    ["nothing", "", []],
    ["one field", "Host: a\r\n", ["Host", "a"]],
    ["several, repeated ones too", "a: 1\r\nb:2\r\na: 3\r\n", ["a", "1", "b", "2", "a", "3"]],
    ["blanks around a value", "a: \t x y \t\r\n", ["a", "x y"]],
    ["an empty value", "a:\r\nb: \r\n", ["a", "", "b", ""]],
    ["a colon in a value", "host: localhost:8080\r\n", ["host", "localhost:8080"]],
    ["bytes of UTF-8 that look like blanks", "a: \xc3\xa0\r\n", ["a", "\xc3\xa0"]],
    ["every character a name may have", "!#$%&'*+-.^_`|~09azAZ: x\r\n", ["!#$%&'*+-.^_`|~09azAZ", "x"]],
  ])("reads %s", (_name, lines, fields) => {
    expect(parseFields(lines)).toEqual(fields);
  });

  test.each([
    ["a blank before the colon", "a : 1\r\n"],
    ["a folded line", "a: 1\r\n b\r\n"],
    ["no colon", "a\r\n"],
    ["no name", ": 1\r\n"],
    ["a bare LF", "a: 1\nb: 2\r\n"],
    ["a bare CR", "a: 1\rb: 2\r\n"],
    ["no end of the line", "a: 1"],
    ["a NUL", "a: \0\r\n"],
    ["a DEL", "a: \x7f\r\n"],
    ["another control", "a: \x0b\r\n"],
    ["a name that is no token", "a b: 1\r\n"],
    ["a name beyond ASCII", "\xe4: 1\r\n"],
    ["more than latin-1", "a: \u20ac\r\n"],
    ["an empty line among them", "a: 1\r\n\r\nb: 2\r\n"],
  ])("refuses %s", (_name, lines) => {
    expect(parseFields(lines)).toBeUndefined();
  });
});
