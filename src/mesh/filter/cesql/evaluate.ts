/**
 * CESQL tree → closures, built once per expression (sheet cloudevents §7.4, §7.7).
 *
 * E1  operands are evaluated left to right; the first failure ends the node with the zero of the node's own
 *     result type and that error; then operands are cast, a failed cast likewise.
 * E2  AND and OR stop at the operand that decides; IN stops at the element that is equal.
 * E3  nothing throws, and the height of the tree is bounded by the parser (P2).
 */
import type { Arithmetic, Comparison, Logic, Node, Type, Value } from "./ast.ts";
import { cast, fail, failAs, isFailure, type Outcome, toBoolean, toInteger, toText, typeOf } from "./cast.ts";
import { type CesqlFunction, findFunction } from "./functions.ts";
import type { Identifiers } from "./identifiers.ts";
import { compileLike } from "./like.ts";

export type Evaluate<Scope> = (scope: Scope) => Outcome;

/** The closure of a tree. */
export function compileNode<Scope>(node: Node, identifiers: Identifiers<Scope>): Evaluate<Scope> {
  const compile = (child: Node) => compileNode(child, identifiers);
  switch (node.kind) {
    case "literal": {
      const { value } = node;
      return () => value;
    }
    case "attribute": {
      const read = identifiers.read(node.name);
      return (scope) => read(scope) ?? failAs("boolean", "missingAttribute");
    }
    case "exists":
      return identifiers.exists(node.name);
    case "call":
      return compileCall(node, node.args.map(compile));
    case "not":
      return compileNot(compile(node.operand));
    case "negate":
      return compileNegate(compile(node.operand));
    case "logic":
      return compileLogic(node.operator, node.operands.map(compile));
    case "compare":
      return compileCompare(node, identifiers);
    case "arithmetic":
      return compileArithmetic(arithmetic[node.operator], compile(node.left), compile(node.right));
    case "like":
      return compileLikeNode(node, compile(node.operand));
    case "in":
      return compileIn(node, identifiers);
  }
}

function compileNot<Scope>(operand: Evaluate<Scope>): Evaluate<Scope> {
  return (scope) => {
    const outcome = operand(scope);
    if (isFailure(outcome)) return failAs("boolean", outcome.error);
    const value = toBoolean(outcome);
    return value === undefined ? failAs("boolean", "cast") : !value;
  };
}

function compileNegate<Scope>(operand: Evaluate<Scope>): Evaluate<Scope> {
  return (scope) => {
    const outcome = operand(scope);
    if (isFailure(outcome)) return failAs("integer", outcome.error);
    const value = toInteger(outcome);
    return value === undefined ? failAs("integer", "cast") : -value | 0;
  };
}

function compileLogic<Scope>(operator: Logic, operands: readonly Evaluate<Scope>[]): Evaluate<Scope> {
  if (operator === "XOR") return compileXor(operands);
  const decisive = operator === "OR";
  return (scope) => {
    for (const operand of operands) {
      const outcome = operand(scope);
      if (isFailure(outcome)) return failAs("boolean", outcome.error);
      const value = typeof outcome === "boolean" ? outcome : toBoolean(outcome);
      if (value === undefined) return failAs("boolean", "cast");
      if (value === decisive) return decisive;
    }
    return !decisive;
  };
}

/** `a XOR b` evaluates both before it casts either (E1), so the first cast waits for the second operand. */
function compileXor<Scope>(operands: readonly Evaluate<Scope>[]): Evaluate<Scope> {
  return (scope) => {
    let result: Value | undefined;
    for (const operand of operands) {
      const outcome = operand(scope);
      if (isFailure(outcome)) return failAs("boolean", outcome.error);
      if (result === undefined) {
        result = outcome;
        continue;
      }
      const left = toBoolean(result);
      const right = toBoolean(outcome);
      if (left === undefined || right === undefined) return failAs("boolean", "cast");
      result = left !== right;
    }
    return result ?? false;
  };
}

function compileCompare<Scope>(
  node: Node & { kind: "compare" },
  identifiers: Identifiers<Scope>,
): Evaluate<Scope> {
  const left = compileNode(node.left, identifiers);
  const { operator } = node;
  if (operator !== "=" && operator !== "!=") {
    return compileOrder(operator, left, compileNode(node.right, identifiers));
  }
  const equal = operator === "=";
  if (node.right.kind === "literal" && typeof node.right.value === "string") {
    return compileEqualText(left, node.right.value, equal);
  }
  const right = compileNode(node.right, identifiers);
  return (scope) => {
    const a = left(scope);
    if (isFailure(a)) return failAs("boolean", a.error);
    const b = right(scope);
    if (isFailure(b)) return failAs("boolean", b.error);
    const casted = cast(a, typeOf(b));
    return casted === undefined ? failAs("boolean", "cast") : (casted === b) === equal;
  };
}

/** The common `attribute = 'text'`: everything has a text, so no cast can fail. */
function compileEqualText<Scope>(left: Evaluate<Scope>, text: string, equal: boolean): Evaluate<Scope> {
  return (scope) => {
    const outcome = left(scope);
    if (typeof outcome === "string") return (outcome === text) === equal;
    if (isFailure(outcome)) return failAs("boolean", outcome.error);
    return (toText(outcome) === text) === equal;
  };
}

function compileOrder<Scope>(
  operator: Exclude<Comparison, "=" | "!=">,
  left: Evaluate<Scope>,
  right: Evaluate<Scope>,
): Evaluate<Scope> {
  const compare = orders[operator];
  return (scope) => {
    const a = left(scope);
    if (isFailure(a)) return failAs("boolean", a.error);
    const b = right(scope);
    if (isFailure(b)) return failAs("boolean", b.error);
    const x = toInteger(a);
    const y = toInteger(b);
    return x === undefined || y === undefined ? failAs("boolean", "cast") : compare(x, y);
  };
}

const orders = {
  "<": (x: number, y: number) => x < y,
  "<=": (x: number, y: number) => x <= y,
  ">": (x: number, y: number) => x > y,
  ">=": (x: number, y: number) => x >= y,
} as const;

function compileArithmetic<Scope>(
  operate: (x: number, y: number) => Outcome,
  left: Evaluate<Scope>,
  right: Evaluate<Scope>,
): Evaluate<Scope> {
  return (scope) => {
    const a = left(scope);
    if (isFailure(a)) return failAs("integer", a.error);
    const b = right(scope);
    if (isFailure(b)) return failAs("integer", b.error);
    const x = toInteger(a);
    const y = toInteger(b);
    return x === undefined || y === undefined ? failAs("integer", "cast") : operate(x, y);
  };
}

/** Overflow wraps around, as in both SDKs; division truncates, the remainder takes the dividend's sign. */
const arithmetic: Readonly<Record<Arithmetic, (x: number, y: number) => Outcome>> = {
  "+": (x, y) => (x + y) | 0,
  "-": (x, y) => (x - y) | 0,
  "*": (x, y) => Math.imul(x, y),
  "/": (x, y) => (y === 0 ? fail(0, "math") : (x / y) | 0),
  "%": (x, y) => (y === 0 ? fail(0, "math") : (x % y) | 0),
};

function compileLikeNode<Scope>(
  { pattern, negated }: Node & { kind: "like" },
  operand: Evaluate<Scope>,
): Evaluate<Scope> {
  const matches = compileLike(pattern);
  return (scope) => {
    const outcome = operand(scope);
    if (typeof outcome === "string") return matches(outcome) !== negated;
    if (isFailure(outcome)) return failAs("boolean", outcome.error);
    return matches(toText(outcome)) !== negated;
  };
}

function compileIn<Scope>(node: Node & { kind: "in" }, identifiers: Identifiers<Scope>): Evaluate<Scope> {
  const { negated } = node;
  const operand = compileNode(node.operand, identifiers);
  const set = node.set.map((element) => compileNode(element, identifiers));
  const literals = node.set.map((element) =>
    element.kind === "literal" ? toText(element.value) : undefined,
  );
  const texts: ReadonlySet<string | undefined> | undefined = literals.includes(undefined)
    ? undefined
    : new Set(literals);
  return (scope) => {
    const sought = operand(scope);
    if (isFailure(sought)) return failAs("boolean", sought.error);
    if (texts !== undefined && typeof sought === "string") return texts.has(sought) !== negated;
    const type = typeOf(sought);
    for (const element of set) {
      const outcome = element(scope);
      if (isFailure(outcome)) return failAs("boolean", outcome.error);
      const casted = cast(outcome, type);
      if (casted === undefined) return failAs("boolean", "cast");
      if (casted === sought) return !negated;
    }
    return negated;
  };
}

function compileCall<Scope>(
  { name }: Node & { kind: "call" },
  args: readonly Evaluate<Scope>[],
): Evaluate<Scope> {
  const found = findFunction(name, args.length);
  if (found === undefined) return () => failAs("boolean", "missingFunction");
  const { returns, call } = found;
  const types = args.map((_, i) => parameterType(found, i));
  return (scope) => {
    const values: Value[] = [];
    for (const arg of args) {
      const outcome = arg(scope);
      if (isFailure(outcome)) return failAs(returns, outcome.error);
      values.push(outcome);
    }
    for (const [i, type] of types.entries()) {
      const value = values[i];
      if (type === "any" || value === undefined) continue;
      const casted = cast(value, type);
      if (casted === undefined) return failAs(returns, "cast");
      values[i] = casted;
    }
    return call(values);
  };
}

function parameterType({ params, rest }: CesqlFunction, index: number): Type | "any" {
  return params[index] ?? rest ?? "any";
}
