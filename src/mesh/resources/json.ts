/** Comparing and digesting plain JSON values independently of key order. */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

/** Equal as JSON: a field that is undefined is a field that is absent. */
export function sameJson(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(plain(a), plain(b));
}

/** SHA-256 (hex) of a JSON value, the same for every order of its keys. */
export function digestJson(value: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify(sortKeys(plain(value))) ?? "")
    .digest("hex");
}

/** The value without null fields, as Go's decoders read it: kubectl and kn send `creationTimestamp: null`. */
export function withoutNulls<T>(value: T): T {
  return mapObjects(value, (entries) => entries.filter(([, field]) => field !== null)) as T;
}

function plain(value: unknown): unknown {
  return mapObjects(value, (entries) => entries.filter(([, field]) => field !== undefined));
}

function sortKeys(value: unknown): unknown {
  return mapObjects(value, (entries) => entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function mapObjects(value: unknown, change: (entries: [string, unknown][]) => [string, unknown][]): unknown {
  if (Array.isArray(value)) return value.map((item) => mapObjects(item, change));
  if (typeof value !== "object" || value === null) return value;
  const entries = change(Object.entries(value));
  return Object.fromEntries(entries.map(([key, field]) => [key, mapObjects(field, change)]));
}
