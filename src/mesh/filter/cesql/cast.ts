/**
 * CESQL's types, casts and failures (sheet cloudevents §7.3, §7.5, §7.7).
 *
 * Evaluation is fail-fast: a node yields a plain Value, or a Failure that holds the value to report and the one
 * error. Failures are returned, never thrown: missing attributes are everyday events on the hot path.
 */
import type { Type, Value } from "./ast.ts";

/** Spelled as the CESQL conformance kit spells them. */
export type ErrorKind =
  | "parse"
  | "math"
  | "cast"
  | "missingAttribute"
  | "missingFunction"
  | "functionEvaluation"
  | "generic";

export interface Failure {
  readonly value: Value;
  readonly error: ErrorKind;
}

export type Outcome = Value | Failure;

export function isFailure(outcome: Outcome): outcome is Failure {
  return typeof outcome === "object";
}

export function fail(value: Value, error: ErrorKind): Failure {
  return { value, error };
}

/** The failure of a node whose result type is `type`: that type's zero. Shared objects, so failing is cheap. */
export function failAs(type: Type, error: ErrorKind): Failure {
  return zeroFailures[type][error];
}

const zeroFailures = {
  string: failuresOf(""),
  integer: failuresOf(0),
  boolean: failuresOf(false),
};

function failuresOf(zero: Value): Readonly<Record<ErrorKind, Failure>> {
  return {
    parse: fail(zero, "parse"),
    math: fail(zero, "math"),
    cast: fail(zero, "cast"),
    missingAttribute: fail(zero, "missingAttribute"),
    missingFunction: fail(zero, "missingFunction"),
    functionEvaluation: fail(zero, "functionEvaluation"),
    generic: fail(zero, "generic"),
  };
}

export function typeOf(value: Value): Type {
  switch (typeof value) {
    case "string":
      return "string";
    case "number":
      return "integer";
    default:
      return "boolean";
  }
}

/** undefined when the value has no form of that type. */
export function cast(value: Value, type: Type): Value | undefined {
  switch (type) {
    case "string":
      return toText(value);
    case "integer":
      return toInteger(value);
    case "boolean":
      return toBoolean(value);
  }
}

export function toText(value: Value): string {
  return typeof value === "string" ? value : String(value);
}

export function toInteger(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (!/^[+-]?[0-9]+$/.test(value)) return undefined;
  const number = Number(value);
  const integer = number | 0;
  return integer === number ? integer : undefined;
}

export function toBoolean(value: Value): boolean | undefined {
  if (typeof value === "boolean") return value;
  if (typeof value === "number") return value !== 0;
  const lower = value.toLowerCase();
  return lower === "true" ? true : lower === "false" ? false : undefined;
}

/**
 * The CESQL value of a JSON value: numbers that are no 32-bit integer become their text (CESQL has no other
 * numbers); null, objects and arrays have none.
 */
export function fromJson(json: unknown): Value | undefined {
  switch (typeof json) {
    case "string":
    case "boolean":
      return json;
    case "number":
      return (json | 0) === json ? json | 0 : String(json);
    default:
      return undefined;
  }
}
