/**
 * What a name in an expression stands for. The evaluator does not know where values come from: event attributes
 * here, JSON data as well in ../data-filter.ts.
 *
 * I1  `data` is not an attribute and always missing.
 * I2  the four required attributes exist in every event, so EXISTS need not look (CESQL spec).
 */
import type { Value } from "./ast.ts";
import { fromJson } from "./cast.ts";

export interface Identifiers<Scope> {
  /** Resolves a name once; undefined at run time when it is missing. */
  read(name: string): (scope: Scope) => Value | undefined;
  exists(name: string): (scope: Scope) => boolean;
}

/** Attributes by lower-case name; event attributes (all strings) are one case of it. */
export type AttributeValues = Readonly<Record<string, Value>>;

const REQUIRED: ReadonlySet<string> = new Set(["id", "source", "specversion", "type"]);

export const attributeIdentifiers: Identifiers<AttributeValues> = {
  read(name) {
    if (name === "data") return () => undefined;
    return (attributes) => {
      const value: unknown = attributes[name];
      return typeof value === "string" ? value : fromJson(value);
    };
  },
  exists(name) {
    if (REQUIRED.has(name)) return () => true;
    const read = attributeIdentifiers.read(name);
    return (attributes) => read(attributes) !== undefined;
  },
};
