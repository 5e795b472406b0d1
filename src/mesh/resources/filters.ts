/**
 * The filter dialects of a Trigger as its spec writes them (sheet knative-eventing §4.3), and their rules:
 * exactly one dialect an element, lower-case attribute names, no empty values (upstream drops such an element
 * silently, which lets everything pass; here it is refused).
 */
import { z } from "zod";
import { exactlyOne, type FieldError, invalidKey, invalidValue, joinPath } from "./field-error.ts";

const attributesSchema = z.record(z.string(), z.string());

export const filterSchema = z.strictObject({
  exact: attributesSchema.optional(),
  prefix: attributesSchema.optional(),
  suffix: attributesSchema.optional(),
  get all() {
    return z.array(filterSchema).optional();
  },
  get any() {
    return z.array(filterSchema).optional();
  },
  get not() {
    return filterSchema.optional();
  },
  cesql: z.string().optional(),
});

/** One element as written; a valid one has exactly one dialect. */
export type FilterElement = z.output<typeof filterSchema>;

/** One element whose dialect is known. */
export type Filter =
  | { readonly exact: Readonly<Record<string, string>> }
  | { readonly prefix: Readonly<Record<string, string>> }
  | { readonly suffix: Readonly<Record<string, string>> }
  | { readonly all: readonly Filter[] }
  | { readonly any: readonly Filter[] }
  | { readonly not: Filter }
  | { readonly cesql: string };

/** Says what is wrong with a CESQL expression (with `dataPaths`, of a data filter); undefined when it parses. */
export type CheckCesql = (
  expression: string,
  options?: { readonly dataPaths: boolean },
) => string | undefined;

const dialects = ["exact", "prefix", "suffix", "all", "any", "not", "cesql"] as const;
type Dialect = (typeof dialects)[number];

/** The dialects that are set; empty maps, lists and texts do not count. */
function dialectsOf(element: FilterElement): Dialect[] {
  return dialects.filter((dialect) => {
    const value = element[dialect];
    if (value === undefined) return false;
    if (typeof value === "string" || Array.isArray(value)) return value.length > 0;
    return dialect === "not" || Object.keys(value).length > 0;
  });
}

/** The element by its one dialect. Only for elements that passed `validateFilter`. */
export function filterOf(element: FilterElement): Filter | undefined {
  const { exact, prefix, suffix, all, any, not, cesql } = element;
  switch (dialectsOf(element)[0]) {
    case "exact":
      return { exact: exact ?? {} };
    case "prefix":
      return { prefix: prefix ?? {} };
    case "suffix":
      return { suffix: suffix ?? {} };
    case "all":
      return { all: filtersOf(all ?? []) };
    case "any":
      return { any: filtersOf(any ?? []) };
    case "not": {
      const inner = filterOf(not ?? {});
      return inner === undefined ? undefined : { not: inner };
    }
    case "cesql":
      return { cesql: cesql ?? "" };
    case undefined:
      return undefined;
  }
}

export function filtersOf(elements: readonly FilterElement[]): Filter[] {
  return elements.flatMap((element) => filterOf(element) ?? []);
}

export function validateFilter(
  element: FilterElement,
  path: string,
  checkCesql: CheckCesql = () => undefined,
): FieldError[] {
  const set = dialectsOf(element);
  if (set.length > 1) {
    const message = "multiple dialects found, filters can have only one dialect set";
    return [{ field: path, message, details: `found ${set.join(" and ")}` }];
  }
  const [dialect] = set;
  if (dialect === undefined) {
    return exactlyOne(
      "neither",
      dialects.map((name) => joinPath(path, name)),
    );
  }
  const at = joinPath(path, dialect);
  switch (dialect) {
    case "exact":
    case "prefix":
    case "suffix":
      return validateAttributes(element[dialect] ?? {}, at, { emptyMeansAny: false });
    case "all":
    case "any":
      return (element[dialect] ?? []).flatMap((inner, index) =>
        validateFilter(inner, `${at}[${index}]`, checkCesql),
      );
    case "not":
      return validateFilter(element.not ?? {}, at, checkCesql);
    case "cesql": {
      const fault = checkCesql(element.cesql ?? "");
      return fault === undefined ? [] : [invalidValue(at, element.cesql, fault)];
    }
  }
}

/** Names and values of an attribute map; only the legacy filter gives an empty value a meaning ("any"). */
export function validateAttributes(
  attributes: Readonly<Record<string, string>>,
  path: string,
  { emptyMeansAny }: { emptyMeansAny: boolean },
): FieldError[] {
  return Object.entries(attributes).flatMap(([name, value]) => {
    const field = `${path}[${name}]`;
    if (!/^[a-z][a-z0-9]*$/.test(name)) {
      const rule = "Attribute name must start with a letter and can only contain lowercase alphanumeric";
      return [invalidKey(field, name, rule)];
    }
    if (value !== "" || emptyMeansAny) return [];
    return [
      invalidValue(field, '""', "expected a non-empty string: an empty one would let every event pass"),
    ];
  });
}
