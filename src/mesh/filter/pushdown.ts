/**
 * What a subject can decide: the filters' narrowest single constraint on `type`, and the filters that remain.
 * The result is plain data; stream/subjects.ts turns it into a subject.
 *
 * D1  sound: an event the filters match has a type the constraint admits.
 * D2  complete: constraint admits the type AND the residual matches ⇔ the filters match. A clause leaves the
 *     residual only when the constraint implies it and the caller says its subject decides the constraint.
 * D3  a prefix stands for at least one more token: `com.acme` is not under `["com", "acme"]`.
 * D4  an element with a problem is kept whole and constrains nothing.
 */
import { format, type Node } from "./cesql/ast.ts";
import { toText } from "./cesql/cast.ts";
import { knownType } from "./cesql/check.ts";
import { compileLike, literalPrefix } from "./cesql/like.ts";
import { parse } from "./cesql/parser.ts";
import { type FilterSpec, filterProblems, soleDialect } from "./filter.ts";

export type TypeConstraint =
  | { readonly kind: "any" }
  | { readonly kind: "exact"; readonly type: string }
  /** Complete `.`-separated pieces, at most `prefixTokensMax`; some may be empty. */
  | { readonly kind: "prefix"; readonly tokens: readonly string[] };

export interface Pushdown {
  readonly constraint: TypeConstraint;
  /** What is still to be evaluated; empty passes. */
  readonly residual: readonly FilterSpec[];
}

export interface PushdownOptions {
  /** Whether the subject of this constraint admits no other type (nothing folded, hashed or shared). */
  readonly isFaithful?: (constraint: TypeConstraint) => boolean;
}

/** Well inside the tokens that the subject mapping keeps apart: beyond them it folds. */
export const prefixTokensMax = 10;

/** Splits filters into the part a subject decides and the rest. Without `isFaithful` the rest is everything. */
export function pushdown(
  filters: readonly FilterSpec[],
  { isFaithful = () => false }: PushdownOptions = {},
): Pushdown {
  const usable = filters.map((filter) => filterProblems([filter]).length === 0);
  const constraint = meet(filters.map((filter, i) => (usable[i] ? constraintOf(filter) : anyType)));
  if (constraint.kind === "any" || !isFaithful(constraint)) return { constraint, residual: filters };
  const residual = filters.flatMap((filter, i) => (usable[i] ? without(filter, constraint) : [filter]));
  return { constraint, residual };
}

/** Whether an event of that type is inside the constraint. */
export function admits(constraint: TypeConstraint, type: string): boolean {
  switch (constraint.kind) {
    case "any":
      return true;
    case "exact":
      return constraint.type === type;
    case "prefix":
      return type.startsWith(prefixText(constraint.tokens));
  }
}

/** What every type under the prefix starts with: the tokens and a dot. */
export function prefixText(tokens: readonly string[]): string {
  return `${tokens.join(".")}.`;
}

const anyType: TypeConstraint = { kind: "any" };

function constraintOf(filter: FilterSpec): TypeConstraint {
  const sole = soleDialect(filter);
  if (sole === undefined) return anyType;
  if ("exact" in sole) return sole.exact.type === undefined ? anyType : exactly(sole.exact.type);
  if ("prefix" in sole) return sole.prefix.type === undefined ? anyType : startingWith(sole.prefix.type);
  if ("all" in sole) return meet(sole.all.map(constraintOf));
  if ("any" in sole) return join(sole.any.map(constraintOf));
  if (!("cesql" in sole)) return anyType;
  const parsed = parse(sole.cesql);
  return "node" in parsed ? constraintOfNode(parsed.node) : anyType;
}

/** The types for which the node can come out true. */
function constraintOfNode(node: Node): TypeConstraint {
  switch (node.kind) {
    case "logic":
      if (node.operator === "AND") return meet(node.operands.map(constraintOfNode));
      return node.operator === "OR" ? join(node.operands.map(constraintOfNode)) : anyType;
    case "compare": {
      const text = comparedText(node);
      return text === undefined ? anyType : exactly(text);
    }
    case "like": {
      if (node.negated || !isType(node.operand)) return anyType;
      const { literal, whole } = literalPrefix(node.pattern);
      return whole ? exactly(literal) : startingWith(literal);
    }
    case "in": {
      if (node.negated || !isType(node.operand)) return anyType;
      const texts = node.set.map((element) =>
        element.kind === "literal" ? toText(element.value) : undefined,
      );
      return join(texts.map((text) => (text === undefined ? anyType : exactly(text))));
    }
    default:
      return anyType;
  }
}

/** `type = 'x'` and `'x' = type`. */
function comparedText(node: Node & { kind: "compare" }): string | undefined {
  if (node.operator !== "=") return undefined;
  const other = isType(node.left) ? node.right : isType(node.right) ? node.left : undefined;
  return other?.kind === "literal" && typeof other.value === "string" ? other.value : undefined;
}

function isType(node: Node): boolean {
  return node.kind === "attribute" && node.name === "type";
}

function exactly(type: string): TypeConstraint {
  return { kind: "exact", type };
}

/** The last piece may be half a token, so it only says that there is one more. */
function startingWith(text: string): TypeConstraint {
  return under(text.split(".").slice(0, -1));
}

function under(tokens: readonly string[]): TypeConstraint {
  return tokens.length === 0 ? anyType : { kind: "prefix", tokens: tokens.slice(0, prefixTokensMax) };
}

/** Inside all of them. Contradictory ones match nothing, so any of them is wide enough. */
function meet(constraints: readonly TypeConstraint[]): TypeConstraint {
  return constraints.reduce((a, b) => (weight(b) > weight(a) ? b : a), anyType);
}

function weight(constraint: TypeConstraint): number {
  switch (constraint.kind) {
    case "any":
      return 0;
    case "prefix":
      return constraint.tokens.length;
    case "exact":
      return Number.POSITIVE_INFINITY;
  }
}

/** Around all of them: the same type, or the tokens they share. */
function join(constraints: readonly TypeConstraint[]): TypeConstraint {
  return constraints.reduce((a, b) => {
    if (a.kind === "exact" && b.kind === "exact" && a.type === b.type) return a;
    const tokens = ancestors(a);
    const others = ancestors(b);
    const differs = tokens.findIndex((token, i) => token !== others[i]);
    return under(differs === -1 ? tokens : tokens.slice(0, differs));
  });
}

/** The tokens that have at least one more token after them. */
function ancestors(constraint: TypeConstraint): readonly string[] {
  switch (constraint.kind) {
    case "any":
      return [];
    case "prefix":
      return constraint.tokens;
    case "exact":
      return constraint.type.split(".").slice(0, -1);
  }
}

/** The element without what the constraint implies: nothing when all of it is implied, else one element. */
function without(filter: FilterSpec, constraint: TypeConstraint): readonly FilterSpec[] {
  const sole = soleDialect(filter);
  if (sole === undefined) return [filter];
  if ("exact" in sole) return withoutType(sole.exact, (exact) => ({ exact }), impliesExact(constraint));
  if ("prefix" in sole) return withoutType(sole.prefix, (prefix) => ({ prefix }), impliesPrefix(constraint));
  if ("suffix" in sole) return withoutType(sole.suffix, (suffix) => ({ suffix }), impliesSuffix(constraint));
  if ("all" in sole) {
    const all = sole.all.flatMap((child) => without(child, constraint));
    return all.length === 0 ? [] : [{ all }];
  }
  if ("any" in sole) {
    const any = sole.any.map((child) => without(child, constraint));
    return any.some((child) => child.length === 0) ? [] : [{ any: any.flat() }];
  }
  return "cesql" in sole ? withoutConjuncts(sole.cesql, constraint) : [filter];
}

function withoutType(
  map: Readonly<Record<string, string>>,
  wrap: (map: Readonly<Record<string, string>>) => FilterSpec,
  isImplied: (value: string) => boolean,
): readonly FilterSpec[] {
  const { type, ...rest } = map;
  if (type === undefined || !isImplied(type)) return [wrap(map)];
  return Object.keys(rest).length === 0 ? [] : [wrap(rest)];
}

/** Drops implied conjuncts. What remains alone must be a boolean: AND would have cast it, a filter does not. */
function withoutConjuncts(source: string, constraint: TypeConstraint): readonly FilterSpec[] {
  const parsed = parse(source);
  if (!("node" in parsed)) return [{ cesql: source }];
  const { node } = parsed;
  if (isImplied(node, constraint)) return [];
  if (node.kind !== "logic" || node.operator !== "AND") return [{ cesql: source }];
  const operands = node.operands.filter((operand) => !isImplied(operand, constraint));
  if (operands.length === node.operands.length) return [{ cesql: source }];
  const [only] = operands;
  if (only === undefined) return [];
  if (operands.length === 1 && knownType(only) !== "boolean") return [{ cesql: source }];
  const cesql = format(operands.length === 1 ? only : { ...node, operands });
  // The canonical text has more parentheses: near a bound the author's own text is kept.
  return [{ cesql: "node" in parse(cesql) ? cesql : source }];
}

function isImplied(node: Node, constraint: TypeConstraint): boolean {
  if (node.kind === "compare") {
    const text = comparedText(node);
    return text !== undefined && impliesExact(constraint)(text);
  }
  if (node.kind !== "like" || node.negated || !isType(node.operand)) return false;
  if (constraint.kind === "exact") return compileLike(node.pattern)(constraint.type);
  const { literal } = literalPrefix(node.pattern);
  return isOpenEnded(node.pattern, literal) && impliesPrefix(constraint)(literal);
}

/** Nothing but the literal and one `%` after it. */
function isOpenEnded(pattern: string, literal: string): boolean {
  return pattern === `${literal}%` && !/[%_\\]/.test(literal);
}

function impliesExact(constraint: TypeConstraint): (value: string) => boolean {
  return (value) => constraint.kind === "exact" && constraint.type === value;
}

function impliesPrefix(constraint: TypeConstraint): (value: string) => boolean {
  return (value) =>
    (constraint.kind === "exact" && constraint.type.startsWith(value)) ||
    (constraint.kind === "prefix" && prefixText(constraint.tokens).startsWith(value));
}

function impliesSuffix(constraint: TypeConstraint): (value: string) => boolean {
  return (value) => constraint.kind === "exact" && constraint.type.endsWith(value);
}
