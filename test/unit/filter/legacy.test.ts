import { describe, expect, test } from "vitest";
import { compileFilters } from "../../../src/mesh/filter/filter.ts";
import { effectiveFilters, legacyFilters } from "../../../src/mesh/filter/legacy.ts";

const event = { specversion: "1.0", id: "1", source: "/a", type: "t", ext: "value", empty: "" };

describe("legacyFilters must keep the legacy meaning", () => {
  test.each([
    [{}, true],
    [{ type: "t" }, true],
    [{ type: "u" }, false],
    [{ type: "t", ext: "value" }, true],
    [{ type: "t", ext: "other" }, false],
    [{ ext: "" }, true],
    [{ empty: "" }, false],
    [{ missing: "" }, false],
  ])("%j: %j", (attributes, expected) => {
    expect(compileFilters(legacyFilters(attributes as Record<string, string>))(event)).toBe(expected);
  });
});

describe("effectiveFilters must let a non-empty filters list win", () => {
  const exact = { exact: { type: "t" } };
  test.each([
    [[exact], { type: "other" }, [exact]],
    [[], { type: "other" }, [{ exact: { type: "other" } }]],
    [undefined, { type: "other" }, [{ exact: { type: "other" } }]],
    [undefined, undefined, []],
  ])("%j over %j", (filters, legacy, expected) => {
    expect(effectiveFilters(filters, legacy)).toEqual(expected);
  });
});
