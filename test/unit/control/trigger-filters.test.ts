import { describe, expect, test } from "vitest";
import { effectiveFilters } from "../../../src/mesh/control/trigger-filters.ts";

describe("effectiveFilters", () => {
  test.each<[string, Parameters<typeof effectiveFilters>[0], unknown]>([
    ["nothing", { filter: {} }, []],
    [
      "the legacy attributes, all of them",
      { filter: { attributes: { type: "a", source: "b" } } },
      [{ exact: { type: "a", source: "b" } }],
    ],
    [
      "an empty legacy value as present and not empty",
      { filter: { attributes: { type: "a", ext: "" } } },
      [{ exact: { type: "a" } }, { cesql: "EXISTS ext AND ext <> ''" }],
    ],
    [
      "the filters alone when there are some",
      { filter: { attributes: { type: "a" } }, filters: [{ prefix: { type: "b" } }] },
      [{ prefix: { type: "b" } }],
    ],
    [
      "the legacy attributes when the filters are empty",
      { filter: { attributes: { type: "a" } }, filters: [] },
      [{ exact: { type: "a" } }],
    ],
  ])("takes %s", (_what, spec, expected) => {
    expect(effectiveFilters(spec)).toEqual(expected);
  });
});
