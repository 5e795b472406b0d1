/**
 * CESQL text → tokens (sheet cloudevents §7.1).
 *
 * L1  a sign belongs to an integer only where an operand may begin: `4-1` is three tokens, `= -1` two.
 * L2  identifiers come out lower-cased; keywords and function names are recognised in any case.
 * L3  with `dataPaths`, `data.order.items.0.sku` is one identifier whose path keeps its case; without, `.` is
 *     refused.
 */
export type Token =
  | { readonly kind: "string"; readonly value: string; readonly at: number }
  | { readonly kind: "integer"; readonly value: number; readonly at: number }
  | { readonly kind: "identifier"; readonly name: string; readonly at: number }
  /** A word that may only name a function. */
  | { readonly kind: "function"; readonly name: string; readonly at: number }
  /** Upper-case. */
  | { readonly kind: "keyword"; readonly text: string; readonly at: number }
  | { readonly kind: "symbol"; readonly text: string; readonly at: number }
  | { readonly kind: "end"; readonly at: number };

/** Expected, found and where: the position is a 0-based offset into the expression. */
export interface Fault {
  readonly message: string;
  readonly position: number;
}

const KEYWORDS: ReadonlySet<string> = new Set([
  "AND",
  "OR",
  "XOR",
  "NOT",
  "LIKE",
  "EXISTS",
  "IN",
  "TRUE",
  "FALSE",
]);
const SYMBOLS = ["!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];
const SPACE = /[ \t\r\n]*/y;
const WORD = /[A-Za-z0-9_]+/y;
const DATA_PATH = /data(?:\.[A-Za-z0-9_]+)+/iy;
const SIGNED = /[+-][0-9]+(?![A-Za-z0-9_])/y;
const INTEGER = /^[0-9]+$/;
const IDENTIFIER = /^[A-Za-z0-9]+$/;
const FUNCTION = /^[A-Za-z][A-Za-z_]*$/;

/** All tokens, the last one `end`; or the first fault. Never throws. */
export function tokenize(source: string, { dataPaths = false } = {}): readonly Token[] | Fault {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    at += matchAt(SPACE, source, at)?.length ?? 0;
    if (at >= source.length) return [...tokens, { kind: "end", at }];
    const read = readToken(source, at, { dataPaths, signed: !endsOperand(tokens.at(-1)) });
    if ("message" in read) return read;
    tokens.push(read.token);
    at += read.length;
  }
}

type Read = { readonly token: Token; readonly length: number };

function readToken(source: string, at: number, mode: { dataPaths: boolean; signed: boolean }): Read | Fault {
  const char = source.charAt(at);
  if (char === "'" || char === '"') return readString(source, at, char);
  const signed = mode.signed ? matchAt(SIGNED, source, at) : undefined;
  if (signed !== undefined) return readInteger(signed, at);
  const path = mode.dataPaths ? matchAt(DATA_PATH, source, at) : undefined;
  if (path !== undefined) {
    return { token: { kind: "identifier", name: `data${path.slice(4)}`, at }, length: path.length };
  }
  const word = matchAt(WORD, source, at);
  if (word !== undefined) return readWord(word, at);
  const symbol = SYMBOLS.find((candidate) => source.startsWith(candidate, at));
  if (symbol !== undefined) return { token: { kind: "symbol", text: symbol, at }, length: symbol.length };
  const found = String.fromCodePoint(source.codePointAt(at) ?? 0);
  return { message: `unexpected character ${JSON.stringify(found)}`, position: at };
}

function readString(source: string, at: number, delimiter: string): Read | Fault {
  let value = "";
  let i = at + 1;
  let plainFrom = i;
  for (; i < source.length; i++) {
    const char = source.charAt(i);
    if (char === "\\") {
      if (source.charAt(i + 1) === delimiter) {
        value += source.slice(plainFrom, i);
        plainFrom = i + 1;
      }
      i++;
    } else if (char === delimiter) {
      // A doubled delimiter goes on, and both stay in the value as in the SDKs.
      if (source.charAt(i + 1) === delimiter) i++;
      else break;
    }
  }
  if (i >= source.length) return { message: "string literal without an end", position: at };
  value += source.slice(plainFrom, i);
  return { token: { kind: "string", value, at }, length: i + 1 - at };
}

function readInteger(text: string, at: number): Read | Fault {
  const number = Number(text);
  if ((number | 0) !== number) {
    return { message: `expected an integer of 32 bits, found ${text}`, position: at };
  }
  return { token: { kind: "integer", value: number | 0, at }, length: text.length };
}

function readWord(word: string, at: number): Read | Fault {
  if (INTEGER.test(word)) return readInteger(word, at);
  const upper = word.toUpperCase();
  if (KEYWORDS.has(upper)) return { token: { kind: "keyword", text: upper, at }, length: word.length };
  if (IDENTIFIER.test(word)) {
    return { token: { kind: "identifier", name: word.toLowerCase(), at }, length: word.length };
  }
  if (FUNCTION.test(word)) return { token: { kind: "function", name: upper, at }, length: word.length };
  return { message: `expected a name of letters and digits, found "${word.slice(0, 40)}"`, position: at };
}

function endsOperand(token: Token | undefined): boolean {
  switch (token?.kind) {
    case "string":
    case "integer":
    case "identifier":
      return true;
    case "keyword":
      return token.text === "TRUE" || token.text === "FALSE";
    case "symbol":
      return token.text === ")";
    default:
      return false;
  }
}

function matchAt(pattern: RegExp, source: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(source)?.[0];
}
