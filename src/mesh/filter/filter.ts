/**
 * WHETHER a trigger wants an event. A filter is plain data (FilterSpec, Knative's field names) that is
 * compiled once into a closure.
 *
 * F1  a match never throws; what cannot be evaluated does not match.
 * F2  an element that cannot be compiled (unknown or several dialects, empty map or list, empty value,
 *     unparsable CESQL, nested too deep) matches nothing, wherever in the element the fault is. Knative skips
 *     such elements, which would deliver everything; `filterProblems` lets admission refuse them instead.
 * F3  elements are ANDed; no elements pass every event; `cesql: ""` is no filter (as Knative).
 */
import type { AttributeMap } from "./attributes.ts";
import { type Compiled, type FilterProblem, type Match, nested, problem } from "./compiled.ts";
import { compileAll, everyOf } from "./dialects/all.ts";
import { compileAny } from "./dialects/any.ts";
import { compileCesqlDialect } from "./dialects/cesql.ts";
import { compileExact } from "./dialects/exact.ts";
import { compileNot } from "./dialects/not.ts";
import { compilePrefix } from "./dialects/prefix.ts";
import { compileSuffix } from "./dialects/suffix.ts";

export type { AttributeMap } from "./attributes.ts";
export type { FilterProblem, Match } from "./compiled.ts";

/** One element of a Trigger's `spec.filters`; exactly one dialect each (sheet knative-eventing §4.3). */
export type FilterSpec =
  | { readonly exact: AttributeMap }
  | { readonly prefix: AttributeMap }
  | { readonly suffix: AttributeMap }
  | { readonly all: readonly FilterSpec[] }
  | { readonly any: readonly FilterSpec[] }
  | { readonly not: FilterSpec }
  | { readonly cesql: string };

/** How deep `all`, `any` and `not` may nest. */
export const filterDepthMax = 64;

/** AND over the elements of `spec.filters`. */
export function compileFilters(filters: readonly FilterSpec[]): Match {
  return everyOf(filters.map(compileFilter));
}

/** One element. Compile once, keep the closure. */
export function compileFilter(filter: FilterSpec): Match {
  const compiled = compileElement(filter, 1);
  switch (compiled.kind) {
    case "match":
      return compiled.match;
    case "none":
      return () => true;
    case "problem":
      return () => false;
  }
}

/** Everything that keeps the elements from being evaluated, for admission and `explain`; empty is good. */
export function filterProblems(filters: readonly FilterSpec[]): readonly FilterProblem[] {
  return filters.flatMap((filter, i) => {
    const compiled = compileElement(filter, 1);
    return compiled.kind === "problem"
      ? compiled.problems.map((fault) => nested(`filters[${i}]`, fault))
      : [];
  });
}

/**
 * The element reduced to its one dialect; empty values beside it do not count (as Knative). undefined when there
 * is not exactly one, or it is unknown.
 */
export function soleDialect(filter: FilterSpec): FilterSpec | undefined {
  if (typeof filter !== "object" || filter === null) return undefined;
  const present = Object.entries(filter).filter(([, value]) => value !== undefined && value !== null);
  const filled = present.filter(([, value]) => !isEmpty(value));
  const [entry, ...others] = filled.length === 0 ? present : filled;
  if (entry === undefined || others.length > 0 || !dialects.has(entry[0])) return undefined;
  return Object.fromEntries([entry]) as unknown as FilterSpec;
}

function isEmpty(value: unknown): boolean {
  return value === "" || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
}

const dialects: ReadonlySet<string> = new Set(["exact", "prefix", "suffix", "all", "any", "not", "cesql"]);

function compileElement(filter: FilterSpec, depth: number): Compiled {
  if (depth > filterDepthMax) return problem("", `expected at most ${filterDepthMax} levels of nesting`);
  const sole = soleDialect(filter);
  if (sole === undefined) {
    return problem("", `expected exactly one of ${[...dialects].join(", ")}, found ${foundDialects(filter)}`);
  }
  const child = (element: FilterSpec) => compileElement(element, depth + 1);
  if ("exact" in sole) return compileExact(sole.exact);
  if ("prefix" in sole) return compilePrefix(sole.prefix);
  if ("suffix" in sole) return compileSuffix(sole.suffix);
  if ("not" in sole) return compileNot(child(sole.not));
  if ("cesql" in sole) return compileCesqlDialect(sole.cesql);
  const [name, list, combine] =
    "all" in sole ? (["all", sole.all, compileAll] as const) : (["any", sole.any, compileAny] as const);
  return Array.isArray(list) ? combine(list.map(child)) : problem(name, "expected a list of filters");
}

function foundDialects(filter: unknown): string {
  if (typeof filter !== "object" || filter === null) return JSON.stringify(filter) ?? "nothing";
  return Object.keys(filter).join(", ") || "none";
}
