/**
 * The members of a CloudEvents JSON object, read in one pass over the bytes. What is no attribute (`data`,
 * `data_base64`) is kept as the place where it stands until the other members say what it means.
 */
import { MeshError } from "../errors.ts";
import {
  completeAttributes,
  type Draft,
  draftAttributes,
  draftedExtension,
  setAttribute,
  setNamedAttribute,
  setPlainAttribute,
  withAttributes,
} from "./attributes.ts";
import { bufferOf, decodeBase64 } from "./bytes.ts";
import type { Event } from "./event.ts";
import { excerptOf } from "./excerpt.ts";
import { skipKey, skipSpace, skipString, skipValue } from "./json-text.ts";
import { type EventLimits, nullMembersMax } from "./limits.ts";
import { charsetOf, isJsonType, isUtf8Charset } from "./media-type.ts";
import { eventInvalid, isCoreAttribute, requireName } from "./validate.ts";

/** Reads event objects out of one body; `at` is where the last one ended. */
export class EventReader {
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
    const isEncoded =
      specversion === "0.3" && draftedExtension(draft, "datacontentencoding")?.toLowerCase() === "base64";
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
        this.#addText(name, stringAt(buffer, start, end));
        return;
      case 0x6e:
        this.#addNull(name);
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

  #addText(name: string, value: string): void {
    requireName(name);
    if (!setPlainAttribute(this.#draft, name, value)) setNamedAttribute(this.#draft, name, value);
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

/** The bytes of text data in the charset its type names. */
function bytesOfText(text: string, datacontenttype: string): Uint8Array {
  if (!text.isWellFormed()) throw eventInvalid("data", "text without unpaired surrogates");
  const charset = charsetOf(datacontenttype);
  if (isUtf8Charset(charset)) return Buffer.from(text, "utf8");
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

/** The refusal of JSON that breaks off or goes wrong at a byte. */
export function malformed(bytes: Uint8Array, at: number, expected: string): MeshError {
  const found =
    at < bytes.length
      ? `"${excerptOf(excerptAt(bufferOf(bytes), at, bytes.length))}" at byte ${at}`
      : "the end of the body";
  return new MeshError("EVENT_INVALID", { expected, found });
}

function nonEmpty(data: Uint8Array): Uint8Array | undefined {
  return data.length === 0 ? undefined : data;
}
