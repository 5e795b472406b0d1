import { describe, expect, test } from "vitest";
import {
  compileFilter,
  compileFilters,
  type FilterSpec,
  filterDepthMax,
  filterProblems,
} from "../../../src/mesh/filter/filter.ts";

const event = {
  specversion: "1.0",
  id: "1",
  source: "/shop/orders",
  type: "com.acme.order.paid",
  datacontenttype: "Application/JSON; charset=utf-8",
  dataschema: "https://acme.com/order",
  ext: "value",
};

describe("compileFilter must decide", () => {
  test.each<[FilterSpec, boolean]>([
    [{ exact: { type: "com.acme.order.paid" } }, true],
    [{ exact: { type: "com.acme.order" } }, false],
    [{ exact: { type: "COM.acme.order.paid" } }, false],
    [{ exact: { type: "com.acme.order.paid", ext: "value" } }, true],
    [{ exact: { type: "com.acme.order.paid", ext: "other" } }, false],
    [{ exact: { type: "com.acme.order.paid", ext: "value", id: "1" } }, true],
    [{ exact: { missing: "x" } }, false],
    [{ exact: { subject: "x" } }, false],
    [{ exact: { time: "0001-01-01T00:00:00Z" } }, false],
    [{ exact: { constructor: "x" } }, false],
    [{ exact: { schemaurl: "https://acme.com/order" } }, true],
    [{ exact: { datamediatype: "application/json" } }, true],
    [{ exact: { datacontenttype: "application/json" } }, false],
    [{ prefix: { type: "com.acme." } }, true],
    [{ prefix: { type: "acme" } }, false],
    [{ prefix: { type: "com.", source: "/shop" } }, true],
    [{ prefix: { type: "com.", source: "/other" } }, false],
    [{ prefix: { missing: "x" } }, false],
    [{ suffix: { type: ".paid" } }, true],
    [{ suffix: { type: "com" } }, false],
    [{ suffix: { missing: "x" } }, false],
    [{ all: [{ exact: { ext: "value" } }, { prefix: { type: "com" } }] }, true],
    [{ all: [{ exact: { ext: "value" } }, { prefix: { type: "org" } }] }, false],
    [{ any: [{ exact: { ext: "other" } }, { prefix: { type: "com" } }] }, true],
    [{ any: [{ exact: { ext: "other" } }, { prefix: { type: "org" } }] }, false],
    [{ not: { exact: { ext: "other" } } }, true],
    [{ not: { exact: { ext: "value" } } }, false],
    [{ not: { exact: { missing: "x" } } }, true],
    [{ not: { not: { exact: { ext: "value" } } } }, true],
    [{ cesql: "type LIKE '%.paid' AND EXISTS ext" }, true],
    [{ cesql: "type = 'x'" }, false],
    [{ cesql: "missing = 'x'" }, false],
    [{ cesql: "ext" }, false],
    [{ not: { cesql: "missing = 'x'" } }, true],
    [{ cesql: "" }, true],
    [{ not: { cesql: "" } }, true],
    [{ all: [{ cesql: "" }] }, true],
    [{ not: { all: [{ cesql: "" }] } }, true],
    [{ any: [{ cesql: "" }, { exact: { ext: "other" } }] }, true],
    [{ all: [{ cesql: "" }, { exact: { ext: "other" } }] }, false],
  ])("%j: %j", (filter, expected) => {
    expect(compileFilter(filter)(event)).toBe(expected);
    expect(filterProblems([filter])).toEqual([]);
  });
});

describe("an element that cannot be compiled must match nothing, not even under not", () => {
  const rows: [unknown, string, RegExp][] = [
    [{}, "filters[0]", /exactly one of exact, .* found none/],
    [null, "filters[0]", /found null/],
    ["exact", "filters[0]", /found "exact"/],
    [{ sql: "TRUE" }, "filters[0]", /found sql/],
    [{ exact: { type: "a" }, suffix: { type: "b" } }, "filters[0]", /found exact, suffix/],
    [{ exact: {} }, "filters[0].exact", /empty map/],
    [{ exact: { type: "" } }, "filters[0].exact", /non-empty value for "type"/],
    [{ prefix: { type: "" } }, "filters[0].prefix", /non-empty value/],
    [{ suffix: { ext: "" } }, "filters[0].suffix", /non-empty value/],
    [{ exact: { Type: "a" } }, "filters[0].exact", /attribute name of a-z and 0-9/],
    [{ exact: { type: 5 } }, "filters[0].exact", /expected a string for "type"/],
    [{ exact: ["a"] }, "filters[0].exact", /expected a map/],
    [{ all: [] }, "filters[0].all", /at least one filter/],
    [{ any: [] }, "filters[0].any", /at least one filter/],
    [{ all: { exact: { type: "a" } } }, "filters[0].all", /expected a list/],
    [{ cesql: "type =" }, "filters[0].cesql", /expected a value, found the end at offset 6/],
    [{ cesql: " " }, "filters[0].cesql", /expected a value/],
    [{ cesql: "data.x = 1" }, "filters[0].cesql", /unexpected character "\."/],
    [{ cesql: 5 }, "filters[0].cesql", /expected a string, found number/],
    [{ not: {} }, "filters[0].not", /found none/],
    [
      { any: [{ cesql: "TRUE" }, { all: [{ not: { cesql: "(" } }] }] },
      "filters[0].any[1].all[0].not.cesql",
      /found the end/,
    ],
  ];

  test.each(rows)("%j", (filter, path, message) => {
    const element = filter as FilterSpec;
    expect(compileFilter(element)(event)).toBe(false);
    expect(compileFilter({ not: element })(event)).toBe(false);
    expect(compileFilter({ any: [{ cesql: "TRUE" }, element] })(event)).toBe(false);
    expect(filterProblems([element])).toEqual([{ path, message: expect.stringMatching(message) }]);
  });

  test("nesting beyond filterDepthMax", () => {
    const nest = (levels: number): FilterSpec =>
      Array.from({ length: levels }).reduce<FilterSpec>((inner) => ({ all: [inner] }), { cesql: "TRUE" });
    expect(compileFilter(nest(filterDepthMax - 1))(event)).toBe(true);
    expect(compileFilter(nest(filterDepthMax))(event)).toBe(false);
    expect(compileFilter(nest(50_000))(event)).toBe(false);
  });
});

test("empty values beside the one dialect must not count", () => {
  const filter = { exact: {}, all: [], cesql: "", suffix: { type: ".paid" } } as unknown as FilterSpec;
  expect(compileFilter(filter)(event)).toBe(true);
  expect(compileFilter({ not: filter })(event)).toBe(false);
});

describe("compileFilters must AND its elements", () => {
  test.each<[FilterSpec[], boolean]>([
    [[], true],
    [[{ exact: { ext: "value" } }], true],
    [[{ exact: { ext: "value" } }, { suffix: { type: ".paid" } }], true],
    [[{ exact: { ext: "value" } }, { suffix: { type: ".sent" } }], false],
    [[{ exact: { ext: "value" } }, { suffix: { type: ".paid" } }, { cesql: "(" }], false],
  ])("%j: %j", (filters, expected) => {
    expect(compileFilters(filters)(event)).toBe(expected);
  });
});
