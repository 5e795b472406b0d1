/**
 * WHEN an attribute is valid: names and values (CloudEvents 1.0 and 0.3).
 * The rules only look: a value is accepted as it stands or refused, never rewritten.
 *
 * R1  every refusal names the attribute, the rule and the beginning of the value, escaped.
 * R2  every check is linear in the length of what it checks.
 * R3  0.3 is accepted as 0.3, never upgraded; its own attributes are checked under that version only.
 */
import { MeshError } from "../errors.ts";
import { excerptOf } from "./excerpt.ts";
import { isMediaType } from "./media-type.ts";
import { isTimestamp } from "./timestamp.ts";
import { isUri, isUriReference } from "./uri.ts";

/** The versions that are read; `1.0` first. */
export const specVersions = ["1.0", "0.3"] as const;

const coreNames = ["id", "source", "specversion", "type", "datacontenttype", "subject", "time"];
const coreNames10: ReadonlySet<string> = new Set([...coreNames, "dataschema"]);
const coreNames03: ReadonlySet<string> = new Set([...coreNames, "schemaurl", "datacontentencoding"]);

/** Whether the specification itself defines the attribute: in JSON such a one is always a string. */
export function isCoreAttribute(name: string, specversion: string): boolean {
  return (specversion === "0.3" ? coreNames03 : coreNames10).has(name);
}

/** Throws unless `name` may name an attribute. Its length is not limited (20 is only a SHOULD). */
export function requireName(name: string): void {
  if (name === "data") throw eventInvalid(name, "an attribute name other than the reserved data", name);
  if (!/^[a-z0-9]+$/.test(name)) {
    throw eventInvalid(excerptOf(name), "an attribute name of a-z and 0-9 only", name);
  }
}

/** Throws unless `value` may be the value of the attribute, as far as that does not depend on specversion. */
export function requireValue(name: string, value: string): void {
  if (!isText(value)) {
    throw eventInvalid(name, "no control characters, unpaired surrogates or noncharacters", value);
  }
  switch (name) {
    case "id":
    case "type":
    case "subject":
      if (value === "") throw eventInvalid(name, "a non-empty string", value);
      return;
    case "source":
      if (value === "" || !isUriReference(value))
        throw eventInvalid(name, "a non-empty URI-reference", value);
      return;
    case "specversion":
      if (value !== "1.0" && value !== "0.3") throw eventInvalid(name, "1.0 or 0.3", value);
      return;
    case "datacontenttype":
      if (!isMediaType(value)) throw eventInvalid(name, "a media type such as application/json", value);
      return;
    case "time":
      if (!isTimestamp(value)) {
        throw eventInvalid(name, "an RFC 3339 timestamp such as 2026-01-31T12:00:00Z", value);
      }
      return;
  }
}

/** Throws unless the attributes that belong to one specversion hold its rules. */
export function requireVersioned(attributes: Readonly<Record<string, string>>): void {
  if (attributes.specversion === "1.0") {
    requireAbsoluteUri("dataschema", attributes.dataschema);
    return;
  }
  requireAbsoluteUri("schemaurl", attributes.schemaurl);
  const { datacontentencoding } = attributes;
  if (datacontentencoding !== undefined && datacontentencoding.toLowerCase() !== "base64") {
    throw eventInvalid(
      "datacontentencoding",
      "base64, the only encoding this mesh reads",
      datacontentencoding,
    );
  }
}

/** The CloudEvents String: no controls (C0, DEL, C1), no unpaired surrogates, no noncharacters. */
export function isText(value: string): boolean {
  for (let at = 0; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    if (code < 0x20 || code > 0x7e) return !/[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u.test(value);
  }
  return true;
}

/** The refusal of an event: what is at fault, the rule, and (if there is one) the beginning of the value. */
export function eventInvalid(field: string, expected: string, value?: string): MeshError {
  return new MeshError("EVENT_INVALID", {
    field,
    expected,
    ...(value === undefined ? {} : { found: `"${excerptOf(value)}"` }),
  });
}

function requireAbsoluteUri(name: string, value: string | undefined): void {
  if (value !== undefined && !isUri(value)) throw eventInvalid(name, "a non-empty absolute URI", value);
}
