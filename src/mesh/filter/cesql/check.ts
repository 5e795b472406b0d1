/**
 * What can be known about an expression without an event. All of it is advice: Knative admits such expressions,
 * so the same manifest must stay appliable here.
 */
import type { Node, Type } from "./ast.ts";
import { toInteger, typeOf } from "./cast.ts";
import { findFunction, isFunctionName } from "./functions.ts";

/** The type a node evaluates to; undefined when it depends on the event. */
export function knownType(node: Node): Type | undefined {
  switch (node.kind) {
    case "literal":
      return typeOf(node.value);
    case "attribute":
      return undefined;
    case "call":
      return findFunction(node.name, node.args.length)?.returns ?? "boolean";
    case "negate":
    case "arithmetic":
      return "integer";
    case "not":
    case "logic":
    case "compare":
    case "like":
    case "exists":
    case "in":
      return "boolean";
  }
}

/** One sentence per thing that makes the expression match less than it seems to say. */
export function warningsOf(root: Node): readonly string[] {
  const warnings = new Set<string>();
  const type = knownType(root);
  if (type === "string" || type === "integer") {
    warnings.add(`expected a boolean result, found ${type}: such a filter never matches`);
  }
  if (root.kind === "attribute") {
    warnings.add(
      `events carry attributes as strings, so "${root.name}" alone never matches: compare it, or use BOOL(${root.name})`,
    );
  }
  visit(root, (node) => {
    const warning = warningAt(node);
    if (warning !== undefined) warnings.add(warning);
  });
  return [...warnings];
}

/** Pre-order over the whole tree. */
export function visit(node: Node, each: (node: Node) => void): void {
  each(node);
  for (const child of childrenOf(node)) visit(child, each);
}

function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "literal":
    case "attribute":
    case "exists":
      return [];
    case "call":
      return node.args;
    case "not":
    case "negate":
    case "like":
      return [node.operand];
    case "logic":
      return node.operands;
    case "compare":
    case "arithmetic":
      return [node.left, node.right];
    case "in":
      return [node.operand, ...node.set];
  }
}

function warningAt(node: Node): string | undefined {
  switch (node.kind) {
    case "attribute":
    case "exists":
      return node.name === "data" ? "data is not an attribute: it is always missing here" : undefined;
    case "call":
      return functionWarning(node.name, node.args.length);
    case "compare":
      if (node.operator === "=" || node.operator === "!=") return undefined;
      return [node.left, node.right].some(isNoInteger)
        ? `${node.operator} compares integers only: a string that is none, a timestamp for one, is an error`
        : undefined;
    default:
      return undefined;
  }
}

function functionWarning(name: string, arity: number): string | undefined {
  if (findFunction(name, arity) !== undefined) return undefined;
  return isFunctionName(name)
    ? `${name} does not take ${arity} argument${arity === 1 ? "" : "s"}: calling it is an error`
    : `there is no function ${name}: calling it is an error`;
}

function isNoInteger(node: Node): boolean {
  return node.kind === "literal" && toInteger(node.value) === undefined;
}
