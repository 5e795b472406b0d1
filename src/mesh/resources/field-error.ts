/**
 * What is wrong with a field, in Knative's own words, so that users see the texts they know from a cluster
 * (sheet knative-eventing §1.3): `<message>: <path>[, <path>…]`, then the details on their own lines.
 */
import type { z } from "zod";

export interface FieldError {
  /** Knative's path grammar: `spec.filters[0].exact`, map keys as `spec.filter.attributes[Source]`. */
  readonly field: string;
  readonly message: string;
  readonly details?: string;
}

/** The message of a field the kind does not have; the Kubernetes API words it in its own way. */
export const UNKNOWN_FIELD = "unknown field";

const MISSING = "missing field(s)";
const FORBIDDEN = "must not set the field(s)";

export function missingField(field: string): FieldError {
  return { field, message: MISSING };
}

export function forbiddenField(field: string, details?: string): FieldError {
  return { field, message: FORBIDDEN, ...(details === undefined ? {} : { details }) };
}

export function invalidValue(field: string, value: unknown, details?: string): FieldError {
  const message = `invalid value: ${typeof value === "string" ? value : JSON.stringify(value)}`;
  return { field, message, ...(details === undefined ? {} : { details }) };
}

export function invalidKey(field: string, key: string, details: string): FieldError {
  return { field, message: `invalid key name "${key}"`, details };
}

export function outOfBounds(field: string, { value, min, max }: Bounds): FieldError {
  return { field, message: `expected ${min} <= ${value} <= ${max}` };
}

interface Bounds {
  readonly value: number;
  readonly min: number;
  readonly max: number;
}

/** "Exactly one of these": one entry per field, so that the text lists them all. */
export function exactlyOne(got: "neither" | "both", fields: readonly string[]): FieldError[] {
  return fields.map((field) => ({ field, message: `expected exactly one, got ${got}` }));
}

/** The refusal of a changed immutable value, with the difference upstream prints. */
export function immutableChange(
  what: "fields" | "annotations",
  { fields, old, now }: { fields: readonly string[]; old: unknown; now: unknown },
): FieldError[] {
  const message = `Immutable ${what} changed (-old +new)`;
  const details = `{${typeof now === "string" ? "string" : "object"}}:\n\t-: ${JSON.stringify(old)}\n\t+: ${JSON.stringify(now)}`;
  return fields.map((field) => ({ field, message, details }));
}

/** All errors as one text: those of one message share a line, lines sorted, paths sorted. */
export function formatFieldErrors(fieldErrors: readonly FieldError[]): string {
  const merged = new Map<string, { message: string; details: string | undefined; fields: Set<string> }>();
  for (const { field, message, details } of fieldErrors) {
    const key = `${message}\n${details ?? ""}`;
    const entry = merged.get(key) ?? { message, details, fields: new Set<string>() };
    entry.fields.add(field);
    merged.set(key, entry);
  }
  return [...merged.values()]
    .sort((a, b) => compare(a.message, b.message))
    .map(({ message, details, fields }) => {
      const line = `${message}: ${[...fields].sort(compare).join(", ")}`;
      return details === undefined ? line : `${line}\n${details}`;
    })
    .join("\n");
}

/** The structural faults a schema found, in the same words. `input` is what was parsed. */
export function fromZodError(error: z.ZodError, input: unknown): FieldError[] {
  return error.issues.flatMap((issue) => {
    const field = formatPath(issue.path);
    const value = valueAt(input, issue.path);
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({ field: joinPath(field, key), message: UNKNOWN_FIELD }));
    }
    if (value === undefined) return [missingField(field)];
    return [invalidValue(field, value, issue.message)];
  });
}

/** `a` and `b[0]` become `a.b[0]`; an empty parent leaves the child as it is. */
export function joinPath(parent: string, child: string): string {
  return parent === "" ? child : `${parent}.${child}`;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    const plain = typeof step === "string" && /^\w+$/.test(step);
    return plain ? joinPath(text, step) : `${text}[${String(step)}]`;
  }, "");
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
