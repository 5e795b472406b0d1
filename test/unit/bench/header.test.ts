import { describe, expect, test } from "vitest";
import { Header } from "../../../bench/header.ts";

const head = (...lines: readonly string[]) =>
  Buffer.from(`POST /a HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);

describe("text", () => {
  test.each([
    { name: "ce-id", value: "7" },
    { name: "ce-sentus", value: "12 3" },
    { name: "ce-type", value: undefined },
    { name: "id", value: undefined },
  ])("must be $value for $name", ({ name, value }) => {
    expect(new Header(name).text(head("CE-Id: 7", "ce-sentus:  12 3 "))).toBe(value);
  });
});

describe("number", () => {
  test.each([
    { name: "where it was before", lines: ["ce-id: 8", "ce-n: 42"] },
    { name: "in capitals", lines: ["ce-id: 8", "CE-N: 42"] },
    { name: "further down", lines: ["ce-id: 8888", "ce-n: 42"] },
    { name: "further up", lines: ["ce-n:42", "ce-id: 8"] },
    { name: "after one whose name it ends", lines: ["ce-id: 8", "xce-n: 1", "ce-n: 42"] },
  ])("must find it $name", ({ lines }) => {
    const header = new Header("ce-n");
    expect(header.number(head("ce-id: 7", "ce-n: 41"))).toBe(41);
    expect(header.number(head(...lines))).toBe(42);
  });

  test("must be undefined where the header was once and is no more", () => {
    const header = new Header("ce-n");
    expect(header.number(head("ce-n: 41"))).toBe(41);
    expect(header.number(head("ce-m: 41"))).toBeUndefined();
  });
});
