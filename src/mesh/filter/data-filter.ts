/**
 * Data filters: CESQL over the attributes plus `data.<path>` into JSON data. An extension of CESQL, so it is
 * never reached through the `cesql` dialect, which refuses dotted names.
 *
 * J1  data is parsed at most once per event, and only when an expression asks.
 * J2  data that is no JSON (by its datacontenttype, or by its bytes) has no members: `data.*` is missing.
 * J3  a path reads own members by their exact name and array elements by their number. Text, booleans and
 *     32-bit integers are values; other numbers read as their text; null is missing; an object or array exists
 *     but has no value.
 */
import type { Event } from "../event/event.ts";
import { isJsonType } from "../event/media-type.ts";
import type { Value } from "./cesql/ast.ts";
import { fromJson } from "./cesql/cast.ts";
import { warningsOf } from "./cesql/check.ts";
import { type Evaluation, evaluationOf } from "./cesql/compile.ts";
import { compileNode } from "./cesql/evaluate.ts";
import { attributeIdentifiers, type Identifiers } from "./cesql/identifiers.ts";
import { parse } from "./cesql/parser.ts";

export type CompiledDataFilter =
  | {
      readonly ok: true;
      /** True only for the result `true` without errors. Never throws. */
      readonly match: (event: Event) => boolean;
      readonly evaluate: (event: Event) => Evaluation;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly message: string; readonly position: number };

/** Compiles once, for any number of events. */
export function compileDataFilter(source: string): CompiledDataFilter {
  const parsed = parse(source, { dataPaths: true });
  if ("message" in parsed) {
    return {
      ok: false,
      message: `${parsed.message} at offset ${parsed.position}`,
      position: parsed.position,
    };
  }
  const run = compileNode(parsed.node, eventIdentifiers);
  return {
    ok: true,
    match: (event) => run(event) === true,
    evaluate: (event) => evaluationOf(run(event)),
    warnings: [...parsed.notes, ...warningsOf(parsed.node)],
  };
}

const PATH_START = "data.";

const eventIdentifiers: Identifiers<Event> = {
  read(name) {
    if (name.startsWith(PATH_START)) {
      const member = memberReader(name);
      return (event): Value | undefined => fromJson(member(event));
    }
    const read = attributeIdentifiers.read(name);
    return ({ attributes }) => read(attributes);
  },
  exists(name) {
    if (name.startsWith(PATH_START)) {
      const member = memberReader(name);
      return (event) => (member(event) ?? undefined) !== undefined;
    }
    const exists = attributeIdentifiers.exists(name);
    return ({ attributes }) => exists(attributes);
  },
};

function memberReader(name: string): (event: Event) => unknown {
  const path = name.slice(PATH_START.length).split(".");
  return (event) => {
    let current = jsonOf(event);
    for (const key of path) {
      if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) return undefined;
      current = (current as Readonly<Record<string, unknown>>)[key];
    }
    return current;
  };
}

const parsedData = new WeakMap<Event, { readonly json: unknown }>();

function jsonOf(event: Event): unknown {
  let parsed = parsedData.get(event);
  if (parsed === undefined) {
    parsed = { json: parseData(event) };
    parsedData.set(event, parsed);
  }
  return parsed.json;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function parseData({ attributes, data }: Event): unknown {
  // No content type means JSON, as in the CloudEvents JSON format.
  if (data === undefined || !isJsonType(attributes.datacontenttype ?? "application/json")) return undefined;
  try {
    return JSON.parse(utf8.decode(data));
  } catch {
    return undefined;
  }
}

/** Says what is wrong with a data filter; undefined when it compiles. For admission. */
export function checkDataFilter(expression: string): string | undefined {
  const compiled = compileDataFilter(expression);
  return compiled.ok ? undefined : compiled.message;
}
