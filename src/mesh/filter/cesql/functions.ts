/**
 * CESQL's built-in functions (sheet cloudevents §7.6). Found by name and number of arguments; arguments arrive
 * cast to `params`. A character is a Unicode code point.
 */
import type { Type, Value } from "./ast.ts";
import { fail, type Outcome, toBoolean, toInteger, toText } from "./cast.ts";

export interface CesqlFunction {
  readonly params: readonly (Type | "any")[];
  /** The type of every further argument; undefined when there can be none. */
  readonly rest?: Type;
  readonly returns: Type;
  readonly call: (args: readonly Value[]) => Outcome;
}

/** UTF-16 units a function may return; more is a functionEvaluation error. */
export const resultLengthMax = 1_048_576;

/** The function of that upper-case name for that many arguments. */
export function findFunction(name: string, arity: number): CesqlFunction | undefined {
  return functions
    .get(name)
    ?.find(({ params, rest }) => (rest === undefined ? params.length === arity : params.length <= arity));
}

export function isFunctionName(name: string): boolean {
  return functions.has(name);
}

const functions: ReadonlyMap<string, readonly CesqlFunction[]> = new Map<string, readonly CesqlFunction[]>([
  ["LENGTH", [{ params: ["string"], returns: "integer", call: ([x]) => length(text(x)) }]],
  [
    "CONCAT",
    [{ params: [], rest: "string", returns: "string", call: (args) => bounded(args.map(text), "") }],
  ],
  [
    "CONCAT_WS",
    [
      {
        params: ["string"],
        rest: "string",
        returns: "string",
        call: ([separator, ...parts]) => bounded(parts.map(text), text(separator)),
      },
    ],
  ],
  ["LOWER", [{ params: ["string"], returns: "string", call: ([x]) => text(x).toLowerCase() }]],
  ["UPPER", [{ params: ["string"], returns: "string", call: ([x]) => text(x).toUpperCase() }]],
  ["TRIM", [{ params: ["string"], returns: "string", call: ([x]) => trim(text(x)) }]],
  [
    "LEFT",
    [{ params: ["string", "integer"], returns: "string", call: ([x, n]) => left(text(x), integer(n)) }],
  ],
  [
    "RIGHT",
    [{ params: ["string", "integer"], returns: "string", call: ([x, n]) => right(text(x), integer(n)) }],
  ],
  [
    "SUBSTRING",
    [
      {
        params: ["string", "integer"],
        returns: "string",
        call: ([x, position]) => substring(text(x), integer(position)),
      },
      {
        params: ["string", "integer", "integer"],
        returns: "string",
        call: ([x, position, count]) => substring(text(x), integer(position), integer(count)),
      },
    ],
  ],
  ["ABS", [{ params: ["integer"], returns: "integer", call: ([x]) => abs(integer(x)) }]],
  ["INT", [{ params: ["any"], returns: "integer", call: ([x]) => orCastError(toInteger(x ?? 0), 0) }]],
  [
    "BOOL",
    [{ params: ["any"], returns: "boolean", call: ([x]) => orCastError(toBoolean(x ?? false), false) }],
  ],
  ["STRING", [{ params: ["any"], returns: "string", call: ([x]) => text(x) }]],
  ["IS_INT", [{ params: ["any"], returns: "boolean", call: ([x]) => toInteger(x ?? 0) !== undefined }]],
  ["IS_BOOL", [{ params: ["any"], returns: "boolean", call: ([x]) => toBoolean(x ?? 0) !== undefined }]],
]);

function left(x: string, count: number): Outcome {
  return count < 0 ? fail(x, "functionEvaluation") : slice(x, 0, count);
}

function right(x: string, count: number): Outcome {
  if (count < 0) return fail(x, "functionEvaluation");
  return slice(x, Math.max(0, length(x) - count), Number.POSITIVE_INFINITY);
}

function substring(x: string, position: number, count = Number.POSITIVE_INFINITY): Outcome {
  if (position === 0) return "";
  const size = length(x);
  if (Math.abs(position) > size || count < 0) return fail("", "functionEvaluation");
  const start = position > 0 ? position - 1 : size + position;
  return slice(x, start, start + count);
}

function abs(x: number): Outcome {
  return x === -2147483648 ? fail(2147483647, "math") : Math.abs(x);
}

/** Unicode White_Space; String.trim keeps U+0085 and strips U+FEFF. All of them are single UTF-16 units. */
function trim(x: string): string {
  const isSpace = (i: number) => /\p{White_Space}/u.test(x.charAt(i));
  let start = 0;
  let end = x.length;
  while (start < end && isSpace(start)) start++;
  while (start < end && isSpace(end - 1)) end--;
  return x.slice(start, end);
}

function bounded(parts: readonly string[], separator: string): Outcome {
  const size = parts.reduce((sum, part) => sum + part.length + separator.length, 0);
  return size > resultLengthMax ? fail("", "functionEvaluation") : parts.join(separator);
}

function orCastError(value: Value | undefined, zero: Value): Outcome {
  return value ?? fail(zero, "cast");
}

function length(x: string): number {
  let count = 0;
  for (let i = 0; i < x.length; count++) i += (x.codePointAt(i) ?? 0) > 0xffff ? 2 : 1;
  return count;
}

/** By code points, `end` exclusive. */
function slice(x: string, start: number, end: number): string {
  return length(x) === x.length ? x.slice(start, end) : Array.from(x).slice(start, end).join("");
}

/** Arguments are counted and cast before a call. */
function text(value: Value | undefined): string {
  return toText(value ?? "");
}

function integer(value: Value | undefined): number {
  return toInteger(value ?? 0) ?? 0;
}
