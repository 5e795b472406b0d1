/**
 * What a CESQL expression is: a tree of plain data, and its text again. Levels and associativity live in the
 * parser; here every operand is already where it belongs.
 */
import { assert } from "../../errors.ts";

/** An Integer is a whole number that fits 32 bits with sign. */
export type Value = string | number | boolean;
export type Type = "string" | "integer" | "boolean";

export type Comparison = "=" | "!=" | "<" | "<=" | ">" | ">=";
export type Arithmetic = "+" | "-" | "*" | "/" | "%";
export type Logic = "AND" | "OR" | "XOR";

export type Node =
  | { readonly kind: "literal"; readonly value: Value }
  /** `name` is lower-case; with data access on it may be a dotted path that starts with `data.`. */
  | { readonly kind: "attribute"; readonly name: string }
  /** `name` is upper-case. */
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Node[] }
  | { readonly kind: "not"; readonly operand: Node }
  | { readonly kind: "negate"; readonly operand: Node }
  /** Two or more operands, evaluated left to right: `a AND b AND c` is one node. */
  | { readonly kind: "logic"; readonly operator: Logic; readonly operands: readonly Node[] }
  | { readonly kind: "compare"; readonly operator: Comparison; readonly left: Node; readonly right: Node }
  | { readonly kind: "arithmetic"; readonly operator: Arithmetic; readonly left: Node; readonly right: Node }
  | { readonly kind: "like"; readonly negated: boolean; readonly operand: Node; readonly pattern: string }
  | { readonly kind: "exists"; readonly name: string }
  | { readonly kind: "in"; readonly negated: boolean; readonly operand: Node; readonly set: readonly Node[] };

/** Canonical text: reparses to a tree that evaluates the same. */
export function format(node: Node): string {
  switch (node.kind) {
    case "literal":
      return typeof node.value === "string" ? quote(node.value) : String(node.value).toUpperCase();
    case "attribute":
      return node.name;
    case "call":
      return `${node.name}(${node.args.map(format).join(", ")})`;
    case "not":
      return `NOT ${operand(node.operand)}`;
    case "negate":
      // A literal keeps its parentheses: `-5` would be one signed literal.
      return node.operand.kind === "literal" ? `-(${format(node.operand)})` : `-${operand(node.operand)}`;
    case "logic":
      return node.operands.map(operand).join(` ${node.operator} `);
    case "compare":
    case "arithmetic":
      return `${operand(node.left)} ${node.operator} ${operand(node.right)}`;
    case "like":
      return `${operand(node.operand)} ${node.negated ? "NOT " : ""}LIKE ${quote(node.pattern)}`;
    case "exists":
      return `EXISTS ${node.name}`;
    case "in":
      return `${operand(node.operand)} ${node.negated ? "NOT " : ""}IN (${node.set.map(format).join(", ")})`;
  }
}

function operand(node: Node): string {
  const atomic = node.kind === "literal" || node.kind === "attribute" || node.kind === "call";
  return atomic ? format(node) : `(${format(node)})`;
}

/** A backslash takes the next character with it, so a value is quotable when no pair ends in the delimiter. */
function quote(value: string): string {
  const delimiter = ["'", '"'].find((candidate) => isQuotable(value, candidate));
  assert(delimiter !== undefined, "a CESQL string holds what no literal can");
  let text = "";
  for (let i = 0; i < value.length; i++) {
    const char = value.charAt(i);
    if (char === "\\") text += char + value.charAt(++i);
    else text += char === delimiter ? `\\${char}` : char;
  }
  return delimiter + text + delimiter;
}

function isQuotable(value: string, delimiter: string): boolean {
  for (let i = 0; i < value.length; i++) {
    if (value.charAt(i) !== "\\") continue;
    i++;
    if (i >= value.length || value.charAt(i) === delimiter) return false;
  }
  return true;
}
