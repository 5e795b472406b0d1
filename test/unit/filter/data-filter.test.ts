import { describe, expect, test, vi } from "vitest";
import type { Event } from "../../../src/mesh/event/event.ts";
import { compileDataFilter } from "../../../src/mesh/filter/data-filter.ts";

function eventWith(data: string | Uint8Array | undefined, datacontenttype?: string): Event {
  const attributes = { specversion: "1.0", id: "1", source: "/a", type: "t" };
  return {
    attributes: datacontenttype === undefined ? attributes : { ...attributes, datacontenttype },
    data: typeof data === "string" ? new TextEncoder().encode(data) : data,
  };
}

function evaluate(source: string, event: Event) {
  const compiled = compileDataFilter(source);
  if (!compiled.ok) throw new Error(compiled.message);
  return compiled.evaluate(event);
}

const order = JSON.stringify({
  Amount: 120,
  price: 12.5,
  paid: true,
  note: null,
  big: 3_000_000_000,
  items: [{ sku: "a-1" }, { sku: "b-2" }],
  "0": "zero",
  and: "keyword",
  __proto__x: 1,
});

describe("compileDataFilter must read JSON data", () => {
  test.each([
    ["data.Amount > 100", true],
    ["data.Amount > 100 AND type = 't'", true],
    ["DATA.Amount = 120", true],
    ["data.paid", true],
    ["data.items.0.sku = 'a-1'", true],
    ["data.items.1.sku LIKE 'b%'", true],
    ["data.0 = 'zero'", true],
    ["data.and = 'keyword'", true],
    ["data.price = '12.5'", true],
    ["data.big = '3000000000'", true],
    ["data.__proto__x = 1", true],
    ["EXISTS data.items", true],
    ["EXISTS data.items.0", true],
    ["EXISTS data.items.2", false],
    ["EXISTS data.note", false],
    ["EXISTS data.__proto__", false],
    ["EXISTS data.items.length", true],
    ["EXISTS data.Amount.x", false],
    ["NOT EXISTS data.nothing AND EXISTS source", true],
    ["data.Amount-20 = 100", true],
  ])("%s", (source, value) => {
    expect(evaluate(source, eventWith(order))).toEqual({ value, errors: [] });
  });

  test.each(["data.amount = 120", "data.nothing = 1", "data.items = 'x'", "data.note = 'x'", "data = 'x'"])(
    "%s is missing",
    (source) => {
      expect(evaluate(source, eventWith(order))).toEqual({ value: false, errors: ["missingAttribute"] });
    },
  );
});

describe("compileDataFilter must find no members in other data", () => {
  test.each([
    ["no data", eventWith(undefined)],
    ["broken JSON", eventWith('{"a": 1')],
    ["another content type", eventWith('{"a": 1}', "text/plain")],
    ["broken UTF-8", eventWith(new Uint8Array([0x22, 0xff, 0x22]))],
    ["a scalar", eventWith("5")],
    ["null", eventWith("null")],
  ])("%s", (_, event) => {
    expect(evaluate("EXISTS data.a", event).value).toBe(false);
    expect(evaluate("data.a = 1", event).errors).toEqual(["missingAttribute"]);
  });

  test("JSON by suffix is JSON", () => {
    expect(evaluate("data.a = 1", eventWith('{"a": 1}', "application/vnd.acme+json; v=1")).value).toBe(true);
  });
});

test("compileDataFilter must parse data once per event, and only when asked", () => {
  const parse = vi.spyOn(JSON, "parse");
  try {
    const event = eventWith('{"a": 1, "b": 2}');
    evaluate("type = 'x' AND data.a = 1", event);
    expect(parse).toHaveBeenCalledTimes(0);
    evaluate("data.a = 1 AND data.b = 2", event);
    evaluate("EXISTS data.b", event);
    expect(parse).toHaveBeenCalledTimes(1);
  } finally {
    parse.mockRestore();
  }
});

test.each(["data.", "data..a = 1", ".a = 1", "other.a = 1", "data.a.", "data.a-b.c", "data.f(1)"])(
  "compileDataFilter must refuse %s",
  (source) => {
    expect(compileDataFilter(source)).toMatchObject({ ok: false, message: expect.any(String) });
  },
);

test("compileDataFilter match must be true only for true without errors", () => {
  const compiled = compileDataFilter("data.Amount");
  expect(compiled.ok && compiled.match(eventWith(order))).toBe(false);
  const paid = compileDataFilter("data.paid");
  expect(paid.ok && paid.match(eventWith(order))).toBe(true);
});
