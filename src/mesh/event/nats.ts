/**
 * The CloudEvents NATS binding (1.0.3-wip): binary mode as the mesh stores events, and every form it may be given.
 *
 * N1  written: one `ce-` header per attribute, datacontenttype among them, values encoded as in HTTP; no
 *     Content-Type, so that a stored event is never mistaken for a structured one.
 * N2  read, in this order: Content-Type of CloudEvents → structured; ce-specversion → binary; a payload that is a
 *     JSON object → structured (publishers of binding 1.0.2 send no header at all). Names in any case.
 * N3  headers that are no attributes are ignored.
 * N4  attributes may be larger than ingress takes: what was stored once must stay readable with what was added.
 */
import { MeshError } from "../errors.ts";
import { completeAttributes, draftAttributes, setNamedAttribute, setPlainAttribute } from "./attributes.ts";
import type { Event } from "./event.ts";
import { attributeNameOf, hasAttributePrefix, headerNameOf } from "./header-name.ts";
import { decodeHeaderValue, encodeHeaderValue } from "./header-value.ts";
import { decodeJson, looksLikeJsonObject } from "./json.ts";
import { attributesBytesMaxStored, type EventLimits, requireBodySize } from "./limits.ts";
import { charsetOf, contentModeOf, formatUnsupported, isUtf8Charset } from "./media-type.ts";
import { eventInvalid } from "./validate.ts";

/** Header names with their values, as iterating a MsgHdrs of nats.js gives them. */
export type NatsHeaders = Iterable<readonly [string, readonly string[]]>;

/** The form of the hot path: `[name, value, …]`. */
export function rawHeadersOf(headers: NatsHeaders): string[] {
  const raw: string[] = [];
  for (const [name, values] of headers) for (const value of values) raw.push(name, value);
  return raw;
}

/**
 * The headers of binary mode as `[name, value, …]`: ASCII, safe to put into a NATS header block as they are. The
 * payload is `event.data`.
 */
export function encodeNatsHeaders(event: Event): string[] {
  const headers: string[] = [];
  for (const name in event.attributes) {
    headers.push(headerNameOf(name), encodeHeaderValue(event.attributes[name] ?? ""));
  }
  return headers;
}

const storedLimits: EventLimits = { attributesBytesMax: attributesBytesMaxStored };

/** Reads an event out of a NATS message. `data` may be a view of `payload`. Throws MeshError. */
export function decodeNats(
  headers: NatsHeaders,
  payload: Uint8Array,
  limits: EventLimits = storedLimits,
): Event {
  return decodeRawNats(rawHeadersOf(headers), payload, limits);
}

/** The same, of headers in the form `[name, value, …]`. */
export function decodeRawNats(
  rawHeaders: readonly string[],
  payload: Uint8Array,
  limits: EventLimits = storedLimits,
): Event {
  requireBodySize(payload, limits);
  const { contentType, hasSpecVersion } = modeHeaders(rawHeaders);
  const mode = contentModeOf(contentType);
  if (mode === "structured") {
    if (!isUtf8Charset(charsetOf(contentType ?? ""))) throw formatUnsupported(contentType ?? "");
    return decodeJson(payload, limits);
  }
  if (hasSpecVersion) return decodeBinary(rawHeaders, contentType, payload, limits);
  if (mode !== "binary") throw formatUnsupported(contentType ?? "");
  if (looksLikeJsonObject(payload)) return decodeJson(payload, limits);
  throw new MeshError("EVENT_INVALID", {
    field: "specversion",
    expected: "a CloudEvent: ce- headers, or an event in JSON as payload",
  });
}

/** What says in which mode the event is. */
function modeHeaders(rawHeaders: readonly string[]): {
  readonly contentType: string | undefined;
  readonly hasSpecVersion: boolean;
} {
  let contentType: string | undefined;
  let hasSpecVersion = false;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 14) hasSpecVersion ||= name.toLowerCase() === "ce-specversion";
    else if (name.length === 12 && name.toLowerCase() === "content-type") contentType ??= rawHeaders[at + 1];
  }
  return { contentType, hasSpecVersion };
}

function decodeBinary(
  rawHeaders: readonly string[],
  contentType: string | undefined,
  payload: Uint8Array,
  limits: EventLimits,
): Event {
  const draft = draftAttributes(limits);
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const header = rawHeaders[at] ?? "";
    if (!hasAttributePrefix(header)) continue;
    const name = attributeNameOf(header);
    const text = rawHeaders[at + 1] ?? "";
    if (setPlainAttribute(draft, name, text)) continue;
    const value = decodeHeaderValue(text);
    if (value === undefined) throw eventInvalid(name, "valid UTF-8 after percent-decoding", text);
    setNamedAttribute(draft, name, value);
  }
  if (contentType !== undefined && draft.datacontenttype === undefined) {
    setNamedAttribute(draft, "datacontenttype", contentType);
  }
  return { attributes: completeAttributes(draft), data: payload.length === 0 ? undefined : payload };
}
