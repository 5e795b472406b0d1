/**
 * The author's view of an event: data parsed by its content type on the way in, encoded by it on the way
 * out. `data: "x"` under a JSON content type is the JSON string "x" in both directions.
 */
import type { Attributes, Event } from "../event/event.ts";
import { requireName, requireValue, requireVersioned } from "../event/validate.ts";
import type { CloudEvent, CloudEventInput } from "./sdk.ts";

/** The type of the event that stands for a plain HTTP request. */
export const httpRequestType = "dev.weft.http.request";

/** What a sender did wrong with its data: answered 400, not retried. */
export class DataUnparsable extends Error {}

/** Throws DataUnparsable when data claims to be JSON and is not. */
export function toAuthorEvent(event: Event): CloudEvent {
  return { ...event.attributes, data: parseData(event.data, event.attributes.datacontenttype) };
}

export function parseData(data: Uint8Array | undefined, contentType: string | undefined): unknown {
  if (data === undefined || data.byteLength === 0) return undefined;
  if (contentType === undefined) {
    try {
      return JSON.parse(decodeText(data));
    } catch {
      return data;
    }
  }
  if (isJson(contentType)) {
    try {
      return JSON.parse(decodeText(data));
    } catch (error) {
      throw new DataUnparsable(`Expected data in JSON, as its content type ${contentType} says`, {
        cause: error,
      });
    }
  }
  return contentType.trimStart().startsWith("text/") ? decodeText(data) : data;
}

/** Throws, naming the attribute and its rule, when an author's event breaks the CloudEvents rules. */
export function fromAuthorEvent(input: CloudEventInput): Event {
  const attributes: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(input)) {
    if (name === "data" || name === "data_base64" || value === undefined || value === null) continue;
    requireName(name);
    const canonical = toCanonical(name, value);
    requireValue(name, canonical);
    attributes[name] = canonical;
  }
  for (const name of ["specversion", "id", "source", "type"]) {
    if (attributes[name] === undefined) throw new TypeError(`Expected the event to have ${name}`);
  }
  const { data, contentType } = encodeData(dataOf(input), attributes.datacontenttype);
  if (contentType !== undefined) attributes.datacontenttype = contentType;
  requireVersioned(attributes);
  return { attributes: attributes as Attributes, data };
}

/** The content type is the given one, else the natural one of the value. */
export function encodeData(
  value: unknown,
  contentType?: string,
): { data: Uint8Array | undefined; contentType: string | undefined } {
  if (value === undefined || value === null) return { data: undefined, contentType };
  if (value instanceof Uint8Array) {
    return { data: value, contentType: contentType ?? "application/octet-stream" };
  }
  if (value instanceof ArrayBuffer) return encodeData(new Uint8Array(value), contentType);
  if (typeof value === "string" && !(contentType !== undefined && isJson(contentType))) {
    return { data: Buffer.from(value), contentType: contentType ?? "text/plain; charset=utf-8" };
  }
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`Expected data that JSON can hold, got a ${typeof value}`);
  return { data: Buffer.from(text), contentType: contentType ?? "application/json" };
}

function dataOf(input: CloudEventInput): unknown {
  if (input.data !== undefined) return input.data;
  return typeof input.data_base64 === "string" ? Buffer.from(input.data_base64, "base64") : undefined;
}

function toCanonical(name: string, value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) <= 2_147_483_648) {
    return String(value);
  }
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  throw new TypeError(
    `Expected attribute ${name} to be a string, integer, boolean, Date or bytes, got a ${typeof value}`,
  );
}

function isJson(contentType: string): boolean {
  return /^\s*[^;\s]+\/(?:[^;\s]+\+)?json\s*(?:;|$)/i.test(contentType);
}

function decodeText(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("utf8");
}
