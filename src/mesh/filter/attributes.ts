/**
 * How the plain dialects read an attribute (sheet knative-eventing §4.3, as far as it fits attributes that are
 * always strings): Knative's two derived names are understood, everything else is read verbatim.
 *
 * A1  an absent attribute, standard or extension, never matches. Knative reads an absent standard attribute as
 *     ""; filter values are never empty, so the two cannot be told apart.
 * A2  `time` is compared as the producer wrote it, not reformatted.
 */
import type { Attributes } from "../event/event.ts";
import { essenceOf } from "../event/media-type.ts";

/** Attribute name → value, as in a Trigger's `exact`, `prefix` and `suffix`. */
export type AttributeMap = Readonly<Record<string, string>>;

/** Reads one attribute; undefined when the event does not carry it. */
export type ReadAttribute = (attributes: Attributes) => string | undefined;

const NAME = /^[a-z0-9]+$/;

/** The reader for an attribute name of a filter. */
export function attributeReader(name: string): ReadAttribute {
  if (name === "schemaurl") return (attributes) => textOf(attributes, "dataschema");
  if (name === "datamediatype") {
    return (attributes) => {
      const contentType = textOf(attributes, "datacontenttype");
      return contentType === undefined ? undefined : essenceOf(contentType);
    };
  }
  return (attributes) => textOf(attributes, name);
}

/** The faults of an attribute map: every name legal, every value a non-empty string, at least one entry. */
export function attributeMapProblems(map: unknown): string[] {
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    return ["expected a map of attribute names to strings"];
  }
  const entries = Object.entries(map);
  if (entries.length === 0) return ["expected at least one attribute, found an empty map"];
  return entries.flatMap(([name, value]) => {
    if (!NAME.test(name)) return [`expected an attribute name of a-z and 0-9, found "${name}"`];
    if (typeof value !== "string") return [`expected a string for "${name}", found ${typeof value}`];
    return value === "" ? [`expected a non-empty value for "${name}", found ""`] : [];
  });
}

/** Attribute maps may be ordinary objects in tests and tools: inherited members are not attributes. */
function textOf(attributes: Attributes, name: string): string | undefined {
  const value: unknown = attributes[name];
  return typeof value === "string" ? value : undefined;
}
