/**
 * The CloudEvents JSON format: one event (structured mode) and batches, read and written. `data` is never parsed
 * and printed again: its bytes are spliced, so 1.0, -0, 2^60 and the order of keys survive.
 *
 * J1  each member at most once, `data` and `data_base64` never both; a null attribute is an absent one.
 * J2  an event without datacontenttype but with `data` says application/json; with `data_base64` it stays unknown.
 * J3  0.3 has no data_base64: there bytes are `data` under `datacontentencoding: base64`, which belongs to the
 *     format, not to the event, and is gone once the bytes are decoded.
 * J4  decode(encode(e)) has the attributes of e and its data, byte for byte; only the white space around JSON
 *     data is lost.
 */
import { isUtf8 } from "node:buffer";
import { MeshError } from "../errors.ts";
import { bufferOf, decodeBase64 } from "./bytes.ts";
import type { Event } from "./event.ts";
import { EventReader, malformed } from "./json-reader.ts";
import { depthOfJsonText, isJsonText, skipSpace } from "./json-text.ts";
import { batchEventsMaxDefault, type EventLimits, requireBodySize } from "./limits.ts";
import { charsetOf, isJsonType, isTextType, isUtf8Charset } from "./media-type.ts";
import { eventInvalid } from "./validate.ts";

/** Deeper JSON data is given to APIs as base64: what prints their answers recurses. */
const parsedDataDepthMax = 200;

/** Reads one event. `event.data` may be a view of `body`. Throws MeshError. */
export function decodeJson(body: Uint8Array, limits: EventLimits = {}): Event {
  requireJsonBody(body, limits);
  const reader = new EventReader(body, limits);
  const event = reader.readEvent(skipSpace(body, 0), "");
  requireEnd(body, reader.at);
  return event;
}

/** Reads a batch, all or nothing; the field of a refusal begins with the element's index. Throws MeshError. */
export function decodeJsonBatch(body: Uint8Array, limits: EventLimits = {}): Event[] {
  requireJsonBody(body, limits);
  const eventsMax = limits.batchEventsMax ?? batchEventsMaxDefault;
  let at = skipSpace(body, 0);
  if (body[at] !== 0x5b) throw malformed(body, at, "a JSON array of events");
  const events: Event[] = [];
  const reader = new EventReader(body, limits);
  at = skipSpace(body, at + 1);
  if (body[at] !== 0x5d) {
    for (;;) {
      if (events.length === eventsMax) {
        throw new MeshError("EVENT_TOO_LARGE", {
          expected: `at most ${eventsMax} events in a batch`,
          fix: "Send several smaller batches",
        });
      }
      events.push(readElement(reader, at, events));
      at = skipSpace(body, reader.at);
      if (body[at] !== 0x2c) break;
      at = skipSpace(body, at + 1);
    }
  }
  if (body[at] !== 0x5d) throw malformed(body, at, "a comma or the end of the array");
  requireEnd(body, at + 1);
  return events;
}

/** Writes one event: attributes in their order, all as strings, then the data. */
export function encodeJson(event: Event): Uint8Array {
  const parts: Part[] = [];
  pushEvent(parts, event);
  return bytesOfParts(parts);
}

/** Writes a batch. All events must share one specversion (the JSON batch format demands it of the caller). */
export function encodeJsonBatch(events: readonly Event[]): Uint8Array {
  const parts: Part[] = [events.length === 0 ? "[]" : "["];
  for (const [index, event] of events.entries()) {
    pushEvent(parts, event);
    parts.push(index === events.length - 1 ? "]" : ",");
  }
  return bytesOfParts(parts);
}

/**
 * An event from a plain object with the members of CloudEvents JSON, as authors and the CLI have it; `data` may
 * also be a Uint8Array. Throws EVENT_INVALID for whatever is no such object.
 */
export function eventFromJson(object: unknown, limits: EventLimits = {}): Event {
  let text: string | undefined;
  try {
    text = JSON.stringify(withBytesAsBase64(object));
  } catch (error) {
    throw new MeshError("EVENT_INVALID", { expected: "an object that can be written as JSON", cause: error });
  }
  if (text === undefined) throw new MeshError("EVENT_INVALID", { expected: "an object with event members" });
  return decodeJson(Buffer.from(text, "utf8"), limits);
}

/**
 * The event as a plain object with the members of CloudEvents JSON, for APIs: JSON data is parsed (so its numbers
 * are JavaScript's), text is a string, anything else base64. encodeJson is the exact form.
 */
export function toJsonObject(event: Event): Record<string, unknown> {
  const { attributes, data } = event;
  const object: Record<string, unknown> = { ...attributes };
  const form = dataFormOf(event);
  switch (form) {
    case "none":
      return object;
    case "json":
      if (depthOfJsonText(bytesOf(data)) > parsedDataDepthMax) break;
      object.data = JSON.parse(bufferOf(bytesOf(data)).toString("utf8"));
      return object;
    case "text":
    case "base64-text":
      object.data = bufferOf(bytesOf(data)).toString("utf8");
      return object;
    case "base64":
      break;
  }
  const base64 = bufferOf(bytesOf(data)).toString("base64");
  if (attributes.specversion !== "0.3") return { ...object, data_base64: base64 };
  return { ...object, datacontentencoding: "base64", data: base64 };
}

/** Whether the bytes begin like a JSON object: enough to tell a structured event from any other payload. */
export function looksLikeJsonObject(bytes: Uint8Array): boolean {
  return bytes[skipSpace(bytes, 0)] === 0x7b;
}

function readElement(reader: EventReader, start: number, before: readonly Event[]): Event {
  const path = `[${before.length}]`;
  const event = reader.readEvent(start, path);
  const { specversion } = before[0]?.attributes ?? event.attributes;
  if (event.attributes.specversion !== specversion) {
    throw eventInvalid(
      `${path}.specversion`,
      `${specversion}, the same in the whole batch`,
      event.attributes.specversion,
    );
  }
  return event;
}

type DataForm = "none" | "json" | "text" | "base64" | "base64-text";

/** How the data is written. `base64-text`: a 0.3 event whose bytes are the base64 text it announces. */
function dataFormOf({ attributes, data }: Event): DataForm {
  if (data === undefined || data.length === 0) return "none";
  const { datacontenttype, specversion } = attributes;
  if (specversion === "0.3" && attributes.datacontentencoding !== undefined) {
    const isText = isUtf8(data) && decodeBase64(bufferOf(data).toString("latin1")) !== undefined;
    return isText ? "base64-text" : "base64";
  }
  if (datacontenttype === undefined || !isUtf8(data)) return "base64";
  if (isJsonType(datacontenttype)) return isJsonText(data) ? "json" : "base64";
  if (isTextType(datacontenttype) && isUtf8Charset(charsetOf(datacontenttype))) return "text";
  return "base64";
}

/** A piece of JSON: text still to be encoded, or data to be spliced. */
type Part = string | Uint8Array;

function pushEvent(parts: Part[], event: Event): void {
  const { attributes } = event;
  let head = "";
  for (const name in attributes) {
    head += `${head === "" ? "{" : ","}"${name}":${quoted(attributes[name] ?? "")}`;
  }
  const data = bytesOf(event.data);
  const form = dataFormOf(event);
  switch (form) {
    case "none":
      parts.push(`${head}}`);
      return;
    case "json":
      parts.push(`${head},"data":`, data, "}");
      return;
    case "text":
    case "base64-text":
      parts.push(`${head},"data":${JSON.stringify(bufferOf(data).toString("utf8"))}}`);
      return;
    case "base64": {
      const base64 = bufferOf(data).toString("base64");
      if (attributes.specversion !== "0.3") parts.push(`${head},"data_base64":"${base64}"}`);
      else if (attributes.datacontentencoding !== undefined) parts.push(`${head},"data":"${base64}"}`);
      else parts.push(`${head},"datacontentencoding":"base64","data":"${base64}"}`);
    }
  }
}

function quoted(value: string): string {
  return /[^\x20\x21\x23-\x5b\x5d-\x7e]/.test(value) ? JSON.stringify(value) : `"${value}"`;
}

function bytesOfParts(parts: readonly Part[]): Buffer {
  let length = 0;
  for (const part of parts) length += typeof part === "string" ? Buffer.byteLength(part) : part.length;
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  for (const part of parts) {
    if (typeof part === "string") {
      at += bytes.write(part, at);
    } else {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return bytes;
}

function withBytesAsBase64(object: unknown): unknown {
  if (typeof object !== "object" || object === null || !("data" in object)) return object;
  if (!(object.data instanceof Uint8Array)) return object;
  const base64 = bufferOf(object.data).toString("base64");
  if ("specversion" in object && object.specversion === "0.3") {
    return { ...object, datacontentencoding: "base64", data: base64 };
  }
  return { ...object, data: undefined, data_base64: base64 };
}

function requireJsonBody(body: Uint8Array, limits: EventLimits): void {
  requireBodySize(body, limits);
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) {
    throw malformed(body, 0, "JSON without a byte order mark");
  }
  if (!isUtf8(body)) {
    throw new MeshError("EVENT_INVALID", { expected: "JSON in UTF-8", found: "bytes that are not UTF-8" });
  }
}

function requireEnd(bytes: Uint8Array, end: number): void {
  const at = skipSpace(bytes, end);
  if (at !== bytes.length) throw malformed(bytes, at, "nothing after the JSON value");
}

function bytesOf(data: Uint8Array | undefined): Uint8Array {
  return data ?? new Uint8Array(0);
}
