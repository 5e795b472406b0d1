/**
 * How an event looks in a stream: NATS binary mode, or structured when its attributes are so large that they
 * would crowd out the headers JetStream and weft add (a header block ends at 64 KiB).
 */
import type { MsgHdrs } from "@nats-io/nats-core";
import type { Event } from "../event/event.ts";
import { encodeJson } from "../event/json.ts";
import { decodeRawNats, encodeNatsHeaders, rawHeadersOf } from "../event/nats.ts";
import { HeaderBlock } from "../nats/header-block.ts";
import type { RawHeaders } from "./publish.ts";

const attributesInHeadersMax = 32 * 1024;
const nothing = new Uint8Array(0);
const noHeaders: RawHeaders = [];
const notInHeader = /[^\t\x20-\x7e\x80-\uffff]/;

/** The headers are the caller's, to add others to. */
export function encodeStored(event: Event): { headers: string[]; payload: Uint8Array } {
  const headers = encodeNatsHeaders(event);
  let bytes = 2 * headers.length;
  for (const text of headers) bytes += text.length;
  if (bytes <= attributesInHeadersMax) return { headers, payload: event.data ?? nothing };
  return { headers: ["content-type", "application/cloudevents+json"], payload: encodeJson(event) };
}

/** Headers of a stored message: read by us off a subscription, or by nats.js out of a stream. */
export type StoredHeaders = HeaderBlock | MsgHdrs;

export interface StoredMessage {
  readonly headers?: StoredHeaders | undefined;
  readonly data: Uint8Array;
}

/** Throws EVENT_INVALID when the message is no valid event (a NATS client published it straight). */
export function decodeStored(message: StoredMessage): Event {
  return decodeRawNats(rawOf(message.headers), message.data);
}

/** The headers that travelled beside the event, by the predicate of who passes them on. */
export function headersBeside(
  headers: StoredHeaders | undefined,
  isPassedOn: (name: string) => boolean,
): RawHeaders {
  let beside: Map<string, string> | undefined;
  const raw = rawOf(headers);
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? "";
    const value = raw[at + 1] ?? "";
    // NATS clients may write what no header of HTTP can hold.
    if (!isPassedOn(name) || notInHeader.test(value)) continue;
    beside ??= new Map();
    if (!beside.has(name)) beside.set(name, value);
  }
  return beside === undefined ? noHeaders : [...beside].flat();
}

function rawOf(headers: StoredHeaders | undefined): readonly string[] {
  if (headers instanceof HeaderBlock) return headers.raw;
  return headers === undefined ? [] : rawHeadersOf(headers);
}
