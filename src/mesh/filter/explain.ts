/**
 * WHY a filter wants an event or not, clause by clause: what `why` and `weft test` show. A slow twin of the
 * compiled closure.
 *
 * X1  `explain(filters, attributes).result` equals `compileFilters(filters)(attributes)`, always.
 * X2  every clause is evaluated and shown, also those a short circuit would skip.
 */
import type { Attributes } from "../event/event.ts";
import { type AttributeMap, attributeReader } from "./attributes.ts";
import { format, type Node } from "./cesql/ast.ts";
import { cast, type ErrorKind, isFailure, toText, typeOf } from "./cesql/cast.ts";
import { visit } from "./cesql/check.ts";
import { compileNode } from "./cesql/evaluate.ts";
import { attributeIdentifiers } from "./cesql/identifiers.ts";
import { parse } from "./cesql/parser.ts";
import { compileFilter, type FilterSpec, filterProblems, soleDialect } from "./filter.ts";

export interface Explanation {
  /** The clause as a reader would write it: `exact type`, `any`, `source LIKE '/a/%'`. */
  readonly clause: string;
  readonly result: boolean;
  /** Set on clauses about one attribute. */
  readonly attribute?: string;
  readonly expected?: string;
  /** The value the event carries; absent when it carries none. */
  readonly found?: string;
  /** A CESQL error kind, or why the element cannot be evaluated at all. */
  readonly error?: ErrorKind | string;
  readonly children?: readonly Explanation[];
}

/** The whole decision. */
export function explain(filters: readonly FilterSpec[], attributes: Attributes): Explanation {
  if (filters.length === 0) return { clause: "no filter", result: true };
  const children = filters.map((filter) => explainElement(filter, attributes));
  const [only] = children;
  if (only !== undefined && children.length === 1) return only;
  return { clause: "all", result: children.every(({ result }) => result), children };
}

/** The failing (or, in a match, passing) leaves as one line each, for terminals. */
export function decisiveClauses(explanation: Explanation): readonly string[] {
  const { children, result } = explanation;
  const decisive = children?.filter((child) => child.result === result) ?? [];
  // Under `not` the child that decides has the opposite result; then the clause itself is the best line.
  return decisive.length > 0 ? decisive.flatMap(decisiveClauses) : [lineOf(explanation)];
}

function lineOf({ clause, attribute, expected, found, error, children }: Explanation): string {
  const value = found === undefined ? "nothing" : attribute === undefined ? found : quoted(found);
  if (error !== undefined) return `${clause}: ${error}${found === undefined ? "" : ` (found ${value})`}`;
  if (children !== undefined) return `${clause}: ${children.map(lineOf).join("; ")}`;
  if (expected !== undefined) return `${clause}: expected ${quoted(expected)}, found ${value}`;
  return found === undefined ? clause : `${clause}: found ${value}`;
}

function explainElement(filter: FilterSpec, attributes: Attributes): Explanation {
  const problems = filterProblems([filter]);
  if (problems.length > 0) {
    const error = problems.map(({ path, message }) => `${path.replace(/^filters\[0\]\.?/, "")}: ${message}`);
    return {
      clause: Object.keys(filter ?? {}).join("+") || "filter",
      result: false,
      error: error.join("; "),
    };
  }
  const result = compileFilter(filter)(attributes);
  const sole = soleDialect(filter) ?? filter;
  if ("exact" in sole) return explainMap("exact", sole.exact, { attributes, result });
  if ("prefix" in sole) return explainMap("prefix", sole.prefix, { attributes, result });
  if ("suffix" in sole) return explainMap("suffix", sole.suffix, { attributes, result });
  if ("cesql" in sole) return explainCesql(sole.cesql, attributes, result);
  const [clause, elements] =
    "all" in sole
      ? (["all", sole.all] as const)
      : "any" in sole
        ? (["any", sole.any] as const)
        : (["not", [sole.not]] as const);
  return { clause, result, children: elements.map((element) => explainElement(element, attributes)) };
}

function explainMap(
  dialect: "exact" | "prefix" | "suffix",
  map: AttributeMap,
  { attributes, result }: { attributes: Attributes; result: boolean },
): Explanation {
  const children = Object.entries(map).map(([attribute, expected]): Explanation => {
    const found = attributeReader(attribute)(attributes);
    const one = { [attribute]: expected };
    const spec: FilterSpec =
      dialect === "exact" ? { exact: one } : dialect === "prefix" ? { prefix: one } : { suffix: one };
    return {
      clause: `${dialect} ${attribute}`,
      result: compileFilter(spec)(attributes),
      attribute,
      expected,
      ...(found === undefined ? {} : { found }),
    };
  });
  const [only] = children;
  return only !== undefined && children.length === 1 ? only : { clause: dialect, result, children };
}

function explainCesql(source: string, attributes: Attributes, result: boolean): Explanation {
  const parsed = parse(source);
  if (!("node" in parsed)) return { clause: "no filter", result };
  // The root must be `true` itself; inside, AND and OR cast their operands.
  return { ...explainNode(parsed.node, attributes), result };
}

function explainNode(node: Node, attributes: Attributes): Explanation {
  const outcome = compileNode(node, attributeIdentifiers)(attributes);
  const found = foundAttributes(node, attributes);
  const value = isFailure(outcome) ? outcome.value : outcome;
  const error = isFailure(outcome) ? outcome.error : undefined;
  const notBoolean =
    typeOf(value) === "boolean" ? undefined : `result is ${JSON.stringify(value)}, not a boolean`;
  return {
    clause: format(node),
    result: error === undefined && cast(value, "boolean") === true,
    ...found,
    ...(error === undefined && notBoolean === undefined ? {} : { error: error ?? notBoolean ?? "" }),
    ...(node.kind === "logic"
      ? { children: node.operands.map((operand) => explainNode(operand, attributes)) }
      : {}),
  };
}

/** The attributes a clause reads: one by itself, several as `name='value'` pairs. */
function foundAttributes(node: Node, attributes: Attributes): Pick<Explanation, "attribute" | "found"> {
  if (node.kind === "logic") return {};
  const names = new Set<string>();
  visit(node, (inner) => {
    if (inner.kind === "attribute" || inner.kind === "exists") names.add(inner.name);
  });
  const present = [...names].flatMap((name) => {
    const found = attributeIdentifiers.read(name)(attributes);
    return found === undefined ? [] : [[name, toText(found)] as const];
  });
  const [attribute] = names;
  const [first] = present;
  if (names.size === 1 && attribute !== undefined) {
    return { attribute, ...(first === undefined ? {} : { found: first[1] }) };
  }
  if (first === undefined) return {};
  return { found: present.map(([name, found]) => `${name}=${quoted(found)}`).join(", ") };
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
