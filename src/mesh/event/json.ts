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
import {
  completeAttributes,
  type Draft,
  draftAttributes,
  draftedValue,
  setAttribute,
  withAttributes,
} from "./attributes.ts";
import { decodeBase64 } from "./base64.ts";
import type { Event } from "./event.ts";
import { excerptOf } from "./excerpt.ts";
import { depthOfJsonText, isJsonText, skipKey, skipSpace, skipString, skipValue } from "./json-text.ts";
import { batchEventsMaxDefault, type EventLimits, nullMembersMax, requireBodySize } from "./limits.ts";
import { charsetOf, isJsonType, isTextType, isUtf8Charset } from "./media-type.ts";
import { eventInvalid, isCoreAttribute, requireName } from "./validate.ts";

/** Deeper JSON data is given to APIs as base64: what prints their answers recurses. */
const parsedDataDepthMax = 200;

const textEncoder = new TextEncoder();

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
  const parts: Uint8Array[] = [];
  pushEvent(parts, event);
  return Buffer.concat(parts);
}

/** Writes a batch. All events must share one specversion (the JSON batch format demands it of the caller). */
export function encodeJsonBatch(events: readonly Event[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [index, event] of events.entries()) {
    parts.push(textEncoder.encode(index === 0 ? "[" : ","));
    pushEvent(parts, event);
  }
  parts.push(textEncoder.encode(events.length === 0 ? "[]" : "]"));
  return Buffer.concat(parts);
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
  return decodeJson(textEncoder.encode(text), limits);
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

/** Reads event objects out of one body; `at` is where the last one ended. */
class EventReader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #buffer: Buffer;
  readonly #limits: EventLimits;

  constructor(bytes: Uint8Array, limits: EventLimits) {
    this.#bytes = bytes;
    this.#buffer = bufferOf(bytes);
    this.#limits = limits;
  }

  /** Reads the object at `start`; `path` goes before the field of a refusal. */
  readEvent(start: number, path: string): Event {
    try {
      return this.#readEvent(start);
    } catch (error) {
      if (path === "" || !(error instanceof MeshError)) throw error;
      const { field } = error.detail;
      throw new MeshError(error.code, {
        ...error.detail,
        field: field === undefined ? path : `${path}.${field}`,
      });
    }
  }

  #readEvent(start: number): Event {
    const bytes = this.#bytes;
    if (bytes[start] !== 0x7b) throw malformed(bytes, start, "a JSON object with the event's attributes");
    const members = new Members(this.#limits);
    let at = skipSpace(bytes, start + 1);
    if (bytes[at] !== 0x7d) {
      for (;;) {
        const valueStart = skipKey(bytes, at);
        if (valueStart < 0) throw malformed(bytes, at, "a member");
        const valueEnd = skipValue(bytes, valueStart);
        if (valueEnd < 0) throw malformed(bytes, valueStart, "a JSON value");
        const name = stringAt(this.#buffer, at, skipString(bytes, at));
        members.add(name, this.#buffer, valueStart, valueEnd);
        at = skipSpace(bytes, valueEnd);
        if (bytes[at] !== 0x2c) break;
        at = skipSpace(bytes, at + 1);
      }
    }
    if (bytes[at] !== 0x7d) throw malformed(bytes, at, "a comma or the end of the object");
    this.at = at + 1;
    return members.complete(this.#bytes, this.#buffer);
  }
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The members of one event object as they are read. */
class Members {
  readonly #draft: Draft;
  /** Attributes that were no JSON strings: fine for extensions, wrong for what the specification defines. */
  readonly #notStrings: string[] = [];
  /** Seen with null: absent, yet not to be given again. */
  #nulls: Set<string> | undefined;
  #data: Span | undefined;
  #base64: Span | undefined;

  constructor(limits: EventLimits) {
    this.#draft = draftAttributes(limits);
  }

  add(name: string, buffer: Buffer, start: number, end: number): void {
    const span = { start, end };
    if (name === "data") {
      if (this.#data !== undefined) throw eventInvalid(name, "each member at most once");
      this.#data = span;
    } else if (name === "data_base64") {
      if (this.#base64 !== undefined) throw eventInvalid(name, "each member at most once");
      this.#base64 = span;
    } else {
      this.#addAttribute(name, buffer, span);
    }
  }

  complete(bytes: Uint8Array, buffer: Buffer): Event {
    const draft = this.#draft;
    const specversion = draft.specversion ?? "1.0";
    for (const name of this.#notStrings) {
      if (isCoreAttribute(name, specversion)) throw eventInvalid(name, "a JSON string");
    }
    const isEncoded = specversion === "0.3" && draftedValue(draft, "datacontentencoding") !== undefined;
    const data = this.#readData(bytes, buffer, isEncoded);
    if (this.#data !== undefined && draft.datacontenttype === undefined && !isEncoded) {
      setAttribute(draft, "datacontenttype", "application/json");
    }
    const attributes = completeAttributes(draft);
    for (const name of this.#nulls ?? []) {
      if (attributes[name] !== undefined) throw eventInvalid(name, "each attribute at most once");
    }
    if (!isEncoded || this.#data === undefined) return { attributes, data };
    return withAttributes({ attributes, data }, { datacontentencoding: undefined });
  }

  #addAttribute(name: string, buffer: Buffer, { start, end }: Span): void {
    switch (buffer[start]) {
      case 0x22:
        setAttribute(this.#draft, name, stringAt(buffer, start, end));
        return;
      case 0x6e:
        if (this.#draft.values[name] !== undefined) throw eventInvalid(name, "each attribute at most once");
        if (this.#nulls.size === nullMembersMax)
          throw eventInvalid(name, `at most ${nullMembersMax} null members`);
        this.#nulls.add(name);
        return;
      case 0x74:
      case 0x66:
        setAttribute(this.#draft, name, buffer.toString("latin1", start, end));
        this.#notStrings.push(name);
        return;
      case 0x7b:
      case 0x5b:
        throw eventInvalid(name, "a string, integer, boolean or null", excerptAt(buffer, start, end));
      default:
        setAttribute(this.#draft, name, integerAt(name, buffer, start, end));
        this.#notStrings.push(name);
    }
  }

  #addNull(name: string): void {
    requireName(name);
    this.#nulls ??= new Set();
    if (this.#nulls.has(name)) throw eventInvalid(name, "each attribute at most once");
    if (this.#nulls.size === nullMembersMax)
      throw eventInvalid(name, `at most ${nullMembersMax} null members`);
    this.#nulls.add(name);
  }

  #readData(bytes: Uint8Array, buffer: Buffer, isEncoded: boolean): Uint8Array | undefined {
    const { datacontenttype, specversion } = this.#draft;
    if (this.#base64 !== undefined) {
      if (specversion === "0.3") throw eventInvalid("data_base64", "data with datacontentencoding in 0.3");
      if (buffer[this.#base64.start] !== 0x6e) {
        if (this.#data !== undefined) throw eventInvalid("data_base64", "only one of data and data_base64");
        return base64At("data_base64", buffer, this.#base64);
      }
    }
    if (this.#data === undefined) return undefined;
    if (isEncoded) return base64At("data", buffer, this.#data);
    const { start, end } = this.#data;
    if (datacontenttype === undefined || isJsonType(datacontenttype)) return bytes.subarray(start, end);
    if (buffer[start] !== 0x22) {
      throw eventInvalid(
        "data",
        `a string, because datacontenttype is no JSON type`,
        excerptAt(buffer, start, end),
      );
    }
    return nonEmpty(bytesOfText(stringAt(buffer, start, end), datacontenttype));
  }
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

function pushEvent(parts: Uint8Array[], event: Event): void {
  const { attributes, data } = event;
  let head = "";
  for (const name in attributes) {
    head += `${head === "" ? "{" : ","}"${name}":${JSON.stringify(attributes[name])}`;
  }
  const form = dataFormOf(event);
  switch (form) {
    case "none":
      parts.push(textEncoder.encode(`${head}}`));
      return;
    case "json":
      parts.push(textEncoder.encode(`${head},"data":`), bytesOf(data), textEncoder.encode("}"));
      return;
    case "text":
    case "base64-text":
      head += `,"data":${JSON.stringify(bufferOf(bytesOf(data)).toString("utf8"))}}`;
      break;
    case "base64": {
      const base64 = bufferOf(bytesOf(data)).toString("base64");
      if (attributes.specversion !== "0.3") head += `,"data_base64":"${base64}"}`;
      else if (attributes.datacontentencoding !== undefined) head += `,"data":"${base64}"}`;
      else head += `,"datacontentencoding":"base64","data":"${base64}"}`;
      break;
    }
  }
  parts.push(textEncoder.encode(head));
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

/** The bytes of text data in the charset its type names. */
function bytesOfText(text: string, datacontenttype: string): Uint8Array {
  if (!text.isWellFormed()) throw eventInvalid("data", "text without unpaired surrogates");
  const charset = charsetOf(datacontenttype);
  if (isUtf8Charset(charset)) return textEncoder.encode(text);
  if (charset === "iso-8859-1" && !/[^\0-\xff]/.test(text)) return Buffer.from(text, "latin1");
  throw new MeshError("FORMAT_UNSUPPORTED", {
    field: "datacontenttype",
    expected: "text data in utf-8, us-ascii or iso-8859-1",
    found: excerptOf(datacontenttype),
    fix: "Send the bytes as data_base64",
  });
}

function base64At(field: string, buffer: Buffer, { start, end }: Span): Uint8Array | undefined {
  if (buffer[start] !== 0x22) throw eventInvalid(field, "a base64 string", excerptAt(buffer, start, end));
  const text = stringAt(buffer, start, end);
  const data = decodeBase64(text);
  if (data === undefined) throw eventInvalid(field, "base64 with padding (RFC 4648 §4)", text);
  return nonEmpty(data);
}

/** A JSON Integer as its canonical string. */
function integerAt(name: string, buffer: Buffer, start: number, end: number): string {
  const text = buffer.toString("latin1", start, end);
  const number = Number(text);
  if (!/^-?\d+$/.test(text) || number < -2147483648 || number > 2147483647) {
    throw eventInvalid(name, "an integer from -2147483648 to 2147483647", text);
  }
  return number === 0 ? "0" : text;
}

/** The string whose quotes are at `start` and before `end`; its syntax is checked already. */
function stringAt(buffer: Buffer, start: number, end: number): string {
  const text = buffer.toString("utf8", start + 1, end - 1);
  return text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text;
}

function excerptAt(buffer: Buffer, start: number, end: number): string {
  return buffer.toString("utf8", start, Math.min(end, start + 100));
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

function malformed(bytes: Uint8Array, at: number, expected: string): MeshError {
  const found =
    at < bytes.length
      ? `"${excerptOf(excerptAt(bufferOf(bytes), at, bytes.length))}" at byte ${at}`
      : "the end of the body";
  return new MeshError("EVENT_INVALID", { expected, found });
}

function nonEmpty(data: Uint8Array): Uint8Array | undefined {
  return data.length === 0 ? undefined : data;
}

function bytesOf(data: Uint8Array | undefined): Uint8Array {
  return data ?? new Uint8Array(0);
}

/** The same memory as a Buffer. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
