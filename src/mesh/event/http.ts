/**
 * The CloudEvents HTTP binding: binary, structured and batch mode in, binary and structured out.
 *
 * B1  headers come raw, as Node reads them ([name, value, …], bytes in strings), so that nothing was joined,
 *     dropped or renamed before.
 * B2  in binary mode Content-Type is datacontenttype, verbatim; every other attribute is a `ce-` header.
 * B3  in structured and batch mode the body alone counts; `ce-` headers are not even looked at.
 */
import { MeshError } from "../errors.ts";
import { completeAttributes, draftAttributes, setNamedAttribute, setPlainAttribute } from "./attributes.ts";
import type { Event } from "./event.ts";
import { attributeNameOf, hasAttributePrefix, headerNameOf } from "./header-name.ts";
import {
  byteStringOfText,
  decodeHeaderValue,
  encodeHeaderValue,
  needsEncoding,
  textOfByteString,
} from "./header-value.ts";
import { decodeJson, decodeJsonBatch, encodeJson } from "./json.ts";
import { type EventLimits, requireBodySize } from "./limits.ts";
import { charsetOf, contentModeOf, formatUnsupported, isUtf8Charset, structuredType } from "./media-type.ts";
import { eventInvalid } from "./validate.ts";

/** What a request held. */
export type Decoded =
  | { readonly kind: "event"; readonly event: Event }
  | { readonly kind: "batch"; readonly events: readonly Event[] };

/** What a response held: nothing that claims to be an event, an event, or a claim that does not hold. */
export type DecodedResponse =
  | { readonly kind: "none" }
  | { readonly kind: "event"; readonly event: Event }
  | { readonly kind: "malformed"; readonly reason: string };

/**
 * Raw headers as `[name, value, …]`, or a record of them with names in lower case, as undici has it; both with
 * bytes in strings (latin-1).
 */
export type ResponseHeaders =
  | readonly string[]
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/** Reads what a producer sent, in whatever mode. `data` may be a view of `body`. Throws MeshError. */
export function decodeHttp(
  rawHeaders: readonly string[],
  body: Uint8Array,
  limits: EventLimits = {},
): Decoded {
  requireBodySize(body, limits);
  const contentType = contentTypeOf(rawHeaders);
  const mode = contentModeOf(contentType);
  if (mode === "binary" || contentType === undefined) {
    return { kind: "event", event: decodeBinary(rawHeaders, contentType, body, limits) };
  }
  if (mode === "unsupported") {
    // The required headers make it a binary event that carries a foreign format.
    if (hasSpecVersion(rawHeaders)) {
      return { kind: "event", event: decodeBinary(rawHeaders, contentType, body, limits) };
    }
    throw formatUnsupported(contentType);
  }
  if (!isUtf8Charset(charsetOf(contentType))) throw formatUnsupported(contentType);
  return mode === "batch"
    ? { kind: "batch", events: decodeJsonBatch(body, limits) }
    : { kind: "event", event: decodeJson(body, limits) };
}

/** Reads what a subscriber answered. Never throws. */
export function decodeHttpResponse(
  headers: ResponseHeaders,
  body: Uint8Array,
  limits: EventLimits = {},
): DecodedResponse {
  const rawHeaders = isRawHeaders(headers) ? headers : rawHeadersOf(headers);
  try {
    if (!hasSpecVersion(rawHeaders) && contentModeOf(contentTypeOf(rawHeaders)) === "binary") {
      return { kind: "none" };
    }
    const decoded = decodeHttp(rawHeaders, body, limits);
    if (decoded.kind === "event") return decoded;
    return { kind: "malformed", reason: "A batch of events is no reply: expected one event" };
  } catch (error) {
    if (error instanceof MeshError) return { kind: "malformed", reason: error.message };
    throw error;
  }
}

/** The first value of a header, or undefined. */
export function headerOf(headers: ResponseHeaders, lowerCaseName: string): string | undefined {
  if (!isRawHeaders(headers)) {
    const value = headers[lowerCaseName];
    return typeof value === "object" ? value[0] : value;
  }
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? "";
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) return headers[at + 1];
  }
  return undefined;
}

/**
 * The headers of binary mode as `[name, value, …]`; the body is `event.data`. Not for an event that must be
 * structured (see needsStructured).
 */
export function encodeBinaryHeaders(event: Event): string[] {
  const headers: string[] = [];
  for (const name in event.attributes) {
    const value = event.attributes[name] ?? "";
    if (name === "datacontenttype") headers.push("content-type", byteStringOfText(value));
    else headers.push(headerNameOf(name), encodeHeaderValue(value));
  }
  return headers;
}

/** Content-Type and body of structured mode. */
export function encodeStructured(event: Event): { readonly contentType: string; readonly body: Uint8Array } {
  return { contentType: structuredType, body: encodeJson(event) };
}

/**
 * Whether to send the event in structured mode. Asked for `json`: always. Left open: when a value would need
 * percent-encoding, which the Go, Java and JavaScript SDKs do not undo. Asked for `binary`: only when binary mode
 * cannot say it, because its data is itself an event in a CloudEvents format (the receiver would unpack it).
 */
export function needsStructured(event: Event, format?: "binary" | "json" | undefined): boolean {
  if (format === "json") return true;
  const { datacontenttype } = event.attributes;
  if (datacontenttype !== undefined) {
    const mode = contentModeOf(datacontenttype);
    if (mode === "structured" || mode === "batch") return true;
  }
  return format === undefined && hasValueToEncode(event);
}

function decodeBinary(
  rawHeaders: readonly string[],
  contentType: string | undefined,
  body: Uint8Array,
  limits: EventLimits,
): Event {
  const draft = draftAttributes(limits);
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const header = rawHeaders[at] ?? "";
    if (!hasAttributePrefix(header)) continue;
    const name = attributeNameOf(header);
    if (name === "datacontenttype")
      throw eventInvalid(name, "the Content-Type header instead of ce-datacontenttype");
    const raw = rawHeaders[at + 1] ?? "";
    if (!setPlainAttribute(draft, name, raw)) {
      setNamedAttribute(draft, name, attributeValueOf(name, raw));
    }
  }
  if (draft.specversion === undefined) throw notAnEvent();
  if (contentType !== undefined && !setPlainAttribute(draft, "datacontenttype", contentType)) {
    setNamedAttribute(draft, "datacontenttype", contentType);
  }
  return { attributes: completeAttributes(draft), data: body.length === 0 ? undefined : body };
}

function attributeValueOf(name: string, raw: string): string {
  const text = textOfByteString(raw);
  const value = text === undefined ? undefined : decodeHeaderValue(text);
  if (value === undefined) throw eventInvalid(name, "valid UTF-8, also after percent-decoding", raw);
  return value;
}

/** The one Content-Type, as text. */
function contentTypeOf(rawHeaders: readonly string[]): string | undefined {
  let contentType: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length !== 12 || name.toLowerCase() !== "content-type") continue;
    if (contentType !== undefined)
      throw eventInvalid("datacontenttype", "one Content-Type header, not several");
    const raw = rawHeaders[at + 1] ?? "";
    contentType = textOfByteString(raw);
    if (contentType === undefined) throw eventInvalid("datacontenttype", "a Content-Type in UTF-8", raw);
  }
  return contentType;
}

function hasSpecVersion(rawHeaders: readonly string[]): boolean {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 14 && name.toLowerCase() === "ce-specversion") return true;
  }
  return false;
}

function hasValueToEncode({ attributes }: Event): boolean {
  for (const name in attributes) {
    const value = attributes[name] ?? "";
    if (name === "datacontenttype" ? /[^\x20-\x7e]/.test(value) : needsEncoding(value)) return true;
  }
  return false;
}

function isRawHeaders(headers: ResponseHeaders): headers is readonly string[] {
  return Array.isArray(headers);
}

function rawHeadersOf(headers: Readonly<Record<string, string | readonly string[] | undefined>>): string[] {
  const raw: string[] = [];
  for (const [name, values] of Object.entries(headers)) {
    if (typeof values === "string") raw.push(name, values);
    else for (const value of values ?? []) raw.push(name, value);
  }
  return raw;
}

function notAnEvent(): MeshError {
  return new MeshError("EVENT_INVALID", {
    field: "specversion",
    expected: `a CloudEvent: ce- headers, or Content-Type ${structuredType}`,
    fix: "Send at least ce-specversion, ce-id, ce-source and ce-type",
  });
}
