import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileFilters } from "../../../src/mesh/filter/filter.ts";
import { createRouter } from "../../../src/mesh/filter/router.ts";
import { filters, filtersAndEvent } from "./arbitraries.ts";

const event = (type: string) => ({ specversion: "1.0", id: "1", source: "/a", type });

describe("createRouter matching must name every entry that wants the event, in order", () => {
  const router = createRouter([
    { id: "suffix", filters: [{ suffix: { type: ".paid" } }] },
    { id: "exact", filters: [{ exact: { type: "com.acme.paid" } }] },
    { id: "everything", filters: [] },
    { id: "prefix", filters: [{ prefix: { type: "com.acme." } }] },
    { id: "shallow", filters: [{ prefix: { type: "com." } }, { exact: { source: "/a" } }] },
    { id: "elsewhere", filters: [{ prefix: { type: "com." } }, { exact: { source: "/b" } }] },
    { id: "broken", filters: [{ cesql: "(" }] },
  ]);
  test.each([
    ["com.acme.paid", ["suffix", "exact", "everything", "prefix", "shallow"]],
    ["com.acme.", ["everything", "prefix", "shallow"]],
    ["com.acme", ["everything", "shallow"]],
    ["com", ["everything"]],
    ["org.paid", ["suffix", "everything"]],
  ])("%s", (type, ids) => {
    expect(router.matching(event(type))).toEqual(ids);
    expect(router.matchesAny(event(type))).toBe(true);
  });

  test("no entries want nothing", () => {
    expect(createRouter([]).matching(event("a"))).toEqual([]);
    expect(createRouter([]).matchesAny(event("a"))).toBe(false);
  });
});

test("createRouter must answer as evaluating every entry does", () => {
  let found = 0;
  fc.assert(
    fc.property(fc.array(filters, { maxLength: 8 }), filtersAndEvent, (specs, [wanted, candidate]) => {
      const entries = [wanted, ...specs].map((spec, i) => ({ id: `t${i}`, filters: spec }));
      const naive = entries.filter((entry) => compileFilters(entry.filters)(candidate)).map(({ id }) => id);
      const router = createRouter(entries);
      expect(router.matching(candidate)).toEqual(naive);
      expect(router.matchesAny(candidate)).toBe(naive.length > 0);
      found += naive.length;
    }),
    { seed: 31, numRuns: 5_000 },
  );
  expect(found).toBeGreaterThan(1_000);
});
