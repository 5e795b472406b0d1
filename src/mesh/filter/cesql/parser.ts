/**
 * CESQL tokens → tree, by precedence climbing (sheet cloudevents §7.2). Levels, tightest first:
 *
 *   2 NOT, unary minus   3 LIKE   5 IN   6 * / %   7 + -   8 = != <> < <= > >=   9 AND OR XOR
 *
 * P1  everything associates to the left, AND/OR/XOR too (spec prose); an unparenthesised mix is noted, because
 *     Knative's own broker groups it to the right.
 * P2  length, height and IN set are bounded, so that nothing downstream can recurse too deep.
 * P3  the whole input is consumed; a fault is a value, parsing never throws.
 */
import type { Arithmetic, Comparison, Logic, Node } from "./ast.ts";
import { type Fault, type Token, tokenize } from "./lexer.ts";

export interface ParseLimits {
  /** UTF-16 units of source text. */
  readonly expressionLengthMax: number;
  /** Height of the tree, and nesting of parentheses. A chain of one logic operator is one level. */
  readonly depthMax: number;
  /** Elements of one IN set. */
  readonly inSetMax: number;
}

export const parseLimits: ParseLimits = { expressionLengthMax: 16_384, depthMax: 200, inSetMax: 1_000 };

export interface Parsed {
  readonly node: Node;
  /** Things that parse but rarely mean what their author thinks. */
  readonly notes: readonly string[];
}

export interface ParseOptions {
  /** Accept `data.<path>` identifiers. */
  readonly dataPaths?: boolean;
  readonly limits?: ParseLimits;
}

/** The tree of a whole expression, or the first fault. */
export function parse(
  source: string,
  { dataPaths = false, limits = parseLimits }: ParseOptions = {},
): Parsed | Fault {
  if (source.length > limits.expressionLengthMax) {
    const message = `expected at most ${limits.expressionLengthMax} characters, found ${source.length}`;
    return { message, position: limits.expressionLengthMax };
  }
  const tokens = tokenize(source, { dataPaths });
  if ("message" in tokens) return tokens;
  const state: State = { tokens, next: 0, nesting: 0, limits, grouped: new Set(), notes: new Set() };
  try {
    const { node } = parseExpression(state, LOGIC);
    const rest = peek(state);
    if (rest.kind !== "end") refuse(`expected an operator or the end, found ${describe(rest)}`, rest);
    return { node, notes: [...state.notes] };
  } catch (thrown) {
    if (thrown instanceof Refusal) return { message: thrown.message, position: thrown.position };
    throw thrown;
  }
}

const NEGATION = 2;
const LIKE = 3;
const IN = 5;
const LOGIC = 9;

const BINARY_LEVELS: ReadonlyMap<string, number> = new Map([
  ...["*", "/", "%"].map((text) => [text, 6] as const),
  ...["+", "-"].map((text) => [text, 7] as const),
  ...["=", "!=", "<>", "<", "<=", ">", ">="].map((text) => [text, 8] as const),
  ...["AND", "OR", "XOR"].map((text) => [text, LOGIC] as const),
]);

/** One parse in progress. */
interface State {
  readonly tokens: readonly Token[];
  next: number;
  nesting: number;
  readonly limits: ParseLimits;
  /** Nodes that stood in parentheses: their grouping was meant. */
  readonly grouped: Set<Node>;
  readonly notes: Set<string>;
}

/** A node with its height, so that P2 is checked while building. */
interface Built {
  readonly node: Node;
  readonly height: number;
}

/** Unwinds the descent at the first fault; never leaves this file. */
class Refusal extends Error {
  readonly position: number;

  constructor(message: string, position: number) {
    super(message);
    this.position = position;
  }
}

function parseExpression(state: State, level: number): Built {
  let left = parsePrefix(state);
  for (;;) {
    const infix = peekInfix(state);
    if (infix === undefined || infix.level > level) return left;
    left = parseInfix(state, left, infix);
  }
}

function parsePrefix(state: State): Built {
  const token = take(state);
  switch (token.kind) {
    case "string":
    case "integer":
      return leaf({ kind: "literal", value: token.value });
    case "identifier":
    case "function":
      return isSymbol(peek(state), "(") ? parseCall(state, token) : parseAttribute(token);
    case "keyword":
      return parseKeyword(state, token);
    case "symbol":
      if (token.text === "(") return parseGroup(state);
      if (token.text === "-") {
        const operand = nest(state, token, () => parseExpression(state, NEGATION));
        return build(state, { kind: "negate", operand: operand.node }, [operand]);
      }
  }
  return refuse(`expected a value, found ${describe(token)}`, token);
}

function parseKeyword(state: State, token: Token & { kind: "keyword" }): Built {
  switch (token.text) {
    case "TRUE":
    case "FALSE":
      return leaf({ kind: "literal", value: token.text === "TRUE" });
    case "NOT": {
      const operand = nest(state, token, () => parseExpression(state, NEGATION));
      return build(state, { kind: "not", operand: operand.node }, [operand]);
    }
    case "EXISTS": {
      const name = take(state);
      if (name.kind !== "identifier") {
        return refuse(`expected an attribute name after EXISTS, found ${describe(name)}`, name);
      }
      return leaf({ kind: "exists", name: name.name });
    }
  }
  return refuse(`expected a value, found ${describe(token)}`, token);
}

function parseAttribute(token: Token & { kind: "identifier" | "function" }): Built {
  if (token.kind === "function") return refuse(`expected "(" after the function name ${token.name}`, token);
  return leaf({ kind: "attribute", name: token.name });
}

function parseCall(state: State, token: Token & { kind: "identifier" | "function" }): Built {
  const name = token.name.toUpperCase();
  if (!/^[A-Z][A-Z_]*$/.test(name)) {
    return refuse(`expected a function name of letters and "_", found "${token.name}"`, token);
  }
  take(state);
  const args: Built[] = [];
  if (isSymbol(peek(state), ")")) take(state);
  else args.push(...parseList(state, token));
  return build(state, { kind: "call", name, args: args.map(({ node }) => node) }, args);
}

function parseGroup(state: State): Built {
  const open = peek(state);
  const inner = nest(state, open, () => parseExpression(state, LOGIC));
  takeSymbol(state, ")");
  state.grouped.add(inner.node);
  return inner;
}

/** `e, e, …)`, the opening parenthesis being taken already. */
function parseList(state: State, owner: Token): Built[] {
  const items: Built[] = [];
  do {
    items.push(nest(state, owner, () => parseExpression(state, LOGIC)));
  } while (isSymbol(peek(state), ",") && take(state));
  takeSymbol(state, ")");
  return items;
}

type Infix =
  | { readonly kind: "like" | "in"; readonly level: number; readonly negated: boolean }
  | { readonly kind: "binary"; readonly level: number; readonly operator: string };

function peekInfix(state: State): Infix | undefined {
  const token = peek(state);
  if (token.kind !== "symbol" && token.kind !== "keyword") return undefined;
  const negated = token.text === "NOT";
  const word = negated ? peek(state, 1) : token;
  if (word.kind === "keyword" && word.text === "LIKE") return { kind: "like", level: LIKE, negated };
  if (word.kind === "keyword" && word.text === "IN") return { kind: "in", level: IN, negated };
  const level = BINARY_LEVELS.get(token.text);
  return level === undefined ? undefined : { kind: "binary", level, operator: token.text };
}

function parseInfix(state: State, left: Built, infix: Infix): Built {
  noteLooseNot(state, left.node);
  const token = take(state);
  if (infix.kind === "binary") return parseBinary(state, left, infix);
  const { negated } = infix;
  if (negated) take(state);
  if (infix.kind === "like") {
    const pattern = take(state);
    if (pattern.kind !== "string") {
      return refuse(`expected a string literal after LIKE, found ${describe(pattern)}`, pattern);
    }
    return build(state, { kind: "like", negated, operand: left.node, pattern: pattern.value }, [left]);
  }
  takeSymbol(state, "(");
  const set = parseList(state, token);
  if (set.length > state.limits.inSetMax) {
    return refuse(`expected at most ${state.limits.inSetMax} elements after IN, found ${set.length}`, token);
  }
  const node: Node = { kind: "in", negated, operand: left.node, set: set.map((item) => item.node) };
  return build(state, node, [left, ...set]);
}

function parseBinary(
  state: State,
  left: Built,
  { level, operator }: { level: number; operator: string },
): Built {
  const right = parseExpression(state, level - 1);
  if (level === LOGIC) return chain(state, operator as Logic, left, right);
  const sides = { left: left.node, right: right.node };
  if (level < 8)
    return build(state, { kind: "arithmetic", operator: operator as Arithmetic, ...sides }, [left, right]);
  const comparison = (operator === "<>" ? "!=" : operator) as Comparison;
  return build(state, { kind: "compare", operator: comparison, ...sides }, [left, right]);
}

/** `(a AND b) AND c` means `a AND b AND c`, errors and short circuit included, so chains stay flat. */
function chain(state: State, operator: Logic, left: Built, right: Built): Built {
  if (left.node.kind !== "logic" || left.node.operator !== operator) {
    if (left.node.kind === "logic" && !state.grouped.has(left.node)) {
      state.notes.add(
        `${left.node.operator} and ${operator} are mixed without parentheses: read from left to right here, from right to left by other brokers`,
      );
    }
    return build(state, { kind: "logic", operator, operands: [left.node, right.node] }, [left, right]);
  }
  const node: Node = { kind: "logic", operator, operands: [...left.node.operands, right.node] };
  return { node, height: Math.max(left.height, checkedHeight(state, [right])) };
}

function noteLooseNot(state: State, left: Node): void {
  if (left.kind !== "not" || state.grouped.has(left)) return;
  const infix = peekInfix(state);
  if (infix === undefined || infix.level === LOGIC) return;
  state.notes.add("NOT binds tighter than the operator after its operand: write NOT (…) to negate the whole");
}

function leaf(node: Node): Built {
  return { node, height: 1 };
}

function build(state: State, node: Node, children: readonly Built[]): Built {
  return { node, height: checkedHeight(state, children) };
}

function checkedHeight(state: State, children: readonly Built[]): number {
  let height = 1;
  for (const child of children) height = Math.max(height, child.height + 1);
  if (height > state.limits.depthMax) refuseDepth(state, peek(state));
  return height;
}

/** Bounds the descent itself: parentheses and prefixes recurse before any node exists. */
function nest<T>(state: State, token: Token, descend: () => T): T {
  if (++state.nesting > state.limits.depthMax) refuseDepth(state, token);
  const result = descend();
  state.nesting--;
  return result;
}

function refuseDepth(state: State, token: Token): never {
  return refuse(`expected at most ${state.limits.depthMax} levels of nesting`, token);
}

function refuse(message: string, { at }: { readonly at: number }): never {
  throw new Refusal(message, at);
}

/** The last token is `end` and is never passed. */
function peek(state: State, ahead = 0): Token {
  const { tokens, next } = state;
  return tokens[Math.min(next + ahead, tokens.length - 1)] ?? { kind: "end", at: 0 };
}

function take(state: State): Token {
  const token = peek(state);
  if (token.kind !== "end") state.next++;
  return token;
}

function takeSymbol(state: State, text: string): void {
  const token = take(state);
  if (!isSymbol(token, text)) refuse(`expected "${text}", found ${describe(token)}`, token);
}

function isSymbol(token: Token, text: string): boolean {
  return token.kind === "symbol" && token.text === text;
}

function describe(token: Token): string {
  switch (token.kind) {
    case "end":
      return "the end";
    case "string":
      return "a string";
    case "integer":
      return String(token.value);
    case "identifier":
    case "function":
      return `"${token.name.slice(0, 40)}"`;
    case "keyword":
    case "symbol":
      return `"${token.text}"`;
  }
}
