/**
 * WHAT a media type says: whether it is one (RFC 9110 §8.3.1), which CloudEvents mode it announces, how data
 * under it is written in JSON. Types, subtypes and parameter names compare without regard to case.
 */

import { MeshError } from "../errors.ts";
import { excerptOf } from "./excerpt.ts";

/** What a Content-Type announces. `unsupported` is a CloudEvents format this mesh does not read. */
export type ContentMode = "binary" | "structured" | "batch" | "unsupported";

/** The exact spellings: the JavaScript SDK knows no other. */
export const structuredType = "application/cloudevents+json";
export const batchType = "application/cloudevents-batch+json";

/** type "/" subtype with any parameters, without surrounding blanks; linear in the length. */
export function isMediaType(value: string): boolean {
  if (value === "application/json") return true;
  const slash = skipToken(value, 0);
  if (slash === 0 || value.charCodeAt(slash) !== 0x2f) return false;
  let at = skipToken(value, slash + 1);
  if (at === slash + 1) return false;
  while (at < value.length) {
    const semicolon = skipSpaces(value, at);
    if (value.charCodeAt(semicolon) !== 0x3b) return false;
    const name = skipSpaces(value, semicolon + 1);
    // RFC 9110 allows an empty parameter ("text/plain;"), but a header would lose a blank after it.
    if (name === value.length) return name === semicolon + 1;
    at = skipToken(value, name);
    if (at === name) continue;
    if (value.charCodeAt(at) !== 0x3d) return false;
    const end = skipParameterValue(value, at + 1);
    if (end === undefined) return false;
    at = end;
  }
  return true;
}

/** The type and subtype in lower case, parameters cut off. */
export function essenceOf(mediaType: string): string {
  const semicolon = mediaType.indexOf(";");
  return (semicolon < 0 ? mediaType : mediaType.slice(0, semicolon)).trim().toLowerCase();
}

/** The mode a Content-Type announces. Batch is looked for first: the structured prefix is a prefix of it too. */
export function contentModeOf(contentType: string | undefined): ContentMode {
  if (contentType === undefined) return "binary";
  const first = contentType.charCodeAt(0);
  // The hot path: nearly every type is settled by "application/j…" not being "application/c…".
  if (first !== 0x20 && (contentType.charCodeAt(12) | 0x20) !== 0x63) return "binary";
  const essence = essenceOf(contentType);
  if (essence === batchType) return "batch";
  if (essence === structuredType) return "structured";
  return essence.startsWith("application/cloudevents") ? "unsupported" : "binary";
}

/** The refusal of a CloudEvents format or charset that is not read. */
export function formatUnsupported(contentType: string): MeshError {
  return new MeshError("FORMAT_UNSUPPORTED", {
    field: "Content-Type",
    expected: `${structuredType} in UTF-8`,
    found: `"${excerptOf(contentType)}"`,
  });
}

/** Any json subtype or `+json` suffix. */
export function isJsonType(mediaType: string): boolean {
  if (mediaType === "application/json") return true;
  const essence = essenceOf(mediaType);
  return essence.endsWith("/json") || essence.endsWith("+json");
}

export function isTextType(mediaType: string): boolean {
  return essenceOf(mediaType).startsWith("text/");
}

/** The charset parameter in lower case; undefined when there is none. */
export function charsetOf(mediaType: string): string | undefined {
  let at = mediaType.indexOf(";");
  while (at >= 0 && at < mediaType.length) {
    const name = skipSpaces(mediaType, at + 1);
    const equals = skipToken(mediaType, name);
    if (mediaType.charCodeAt(equals) !== 0x3d) {
      at = mediaType.indexOf(";", equals);
      continue;
    }
    const end = skipParameterValue(mediaType, equals + 1);
    if (end === undefined) return undefined;
    if (mediaType.slice(name, equals).toLowerCase() === "charset") {
      return unquote(mediaType.slice(equals + 1, end)).toLowerCase();
    }
    at = mediaType.indexOf(";", end);
  }
  return undefined;
}

/** UTF-8, or its subset US-ASCII, or not said (which is UTF-8 here). */
export function isUtf8Charset(charset: string | undefined): boolean {
  return charset === undefined || charset === "utf-8" || charset === "utf8" || charset === "us-ascii";
}

function unquote(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/gsu, "$1") : value;
}

/** The index after a token or quoted string; undefined when neither stands there. */
function skipParameterValue(value: string, start: number): number | undefined {
  if (value.charCodeAt(start) !== 0x22) {
    const end = skipToken(value, start);
    return end === start ? undefined : end;
  }
  for (let at = start + 1; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    if (code === 0x22) return at + 1;
    if (code === 0x5c) at += 1;
  }
  return undefined;
}

function skipSpaces(value: string, start: number): number {
  let at = start;
  while (value.charCodeAt(at) === 0x20) at += 1;
  return at;
}

function skipToken(value: string, start: number): number {
  let at = start;
  while (at < value.length && isTokenCode(value.charCodeAt(at))) at += 1;
  return at;
}

const tokenCodes = new Uint8Array(128);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  tokenCodes[character.charCodeAt(0)] = 1;
}

function isTokenCode(code: number): boolean {
  return code < 128 && tokenCodes[code] === 1;
}
