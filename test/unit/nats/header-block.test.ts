import { headers as makeHeaders } from "@nats-io/nats-core";
import { MsgHdrsImpl } from "@nats-io/nats-core/internal";
import { describe, expect, test } from "vitest";
import { HeaderBlock, noHeaders } from "../../../src/mesh/nats/header-block.ts";

describe("HeaderBlock", () => {
  test.each([
    ["no line", "NATS/1.0\r\n\r\n", []],
    ["one line", "NATS/1.0\r\nce-id: 1\r\n\r\n", ["ce-id", "1"]],
    [
      "several, one of them twice",
      "NATS/1.0\r\na: 1\r\nb: 2\r\na: 3\r\n\r\n",
      ["a", "1", "b", "2", "a", "3"],
    ],
    ["no blank, or several", "NATS/1.0\r\na:1\r\nb:   2  \r\n\r\n", ["a", "1", "b", "2"]],
    ["a colon in the value", "NATS/1.0\r\na: b: c\r\n\r\n", ["a", "b: c"]],
    ["an empty value", "NATS/1.0\r\na:\r\n\r\n", ["a", ""]],
    ["a status", "NATS/1.0 408 Request Timeout\r\nNats-Pending: 1\r\n\r\n", ["Nats-Pending", "1"]],
    ["a line without a colon", "NATS/1.0\r\nwhat\r\na: 1\r\n\r\n", ["a", "1"]],
    ["an end that is missing", "NATS/1.0\r\na: 1", ["a", "1"]],
    ["nothing at all", "", []],
  ])("reads %s", (_name, text, raw) => {
    expect(new HeaderBlock(text).raw).toEqual(raw);
  });

  test("reads what nats.js writes as nats.js reads it", () => {
    const written = makeHeaders();
    for (const [name, value] of [
      ["ce-id", "1"],
      ["ce-subject", "a%20b"],
      ["x-request-id", "r 1"],
      ["ce-id", "2"],
    ] as const)
      written.append(name, value);
    const bytes = (written as MsgHdrsImpl).encode();
    const pairs = [...MsgHdrsImpl.decode(bytes)].flatMap(([name, values]) => values.map((v) => [name, v]));
    const { raw } = new HeaderBlock(Buffer.from(bytes).toString("utf8"));
    const read = Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i], raw[2 * i + 1]]);
    expect(read.toSorted()).toEqual(pairs.toSorted());
  });

  test("get finds the first value, by exactly this name", () => {
    const block = new HeaderBlock("NATS/1.0\r\na: 1\r\nA: 2\r\na: 3\r\n\r\n");
    expect([block.get("a"), block.get("A"), block.get("b")]).toEqual(["1", "2", ""]);
    expect(noHeaders.get("a")).toBe("");
  });
});
