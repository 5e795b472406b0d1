/** The HTTP form of events for the runner: which messages are events, and how one is written. Rules are event/'s. */
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { decodeHttp, encodeBinaryHeaders, encodeStructured, needsStructured } from "../event/http.ts";

export interface HttpMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}

/** True when the message says that it carries an event; decoding may still fail. Lower-case header names. */
export function claimsEvent(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  const contentType = String(headers["content-type"] ?? "");
  return headers["ce-specversion"] !== undefined || /^\s*application\/cloudevents/i.test(contentType);
}

/** `rawHeaders` as Node reads them. Throws MeshError, saying which rule is broken. */
export function decodeRequest(rawHeaders: readonly string[], body: Uint8Array): Event {
  const decoded = decodeHttp(rawHeaders, body);
  if (decoded.kind === "event") return decoded.event;
  throw new MeshError("FORMAT_UNSUPPORTED", {
    expected: "one event",
    found: "a batch",
    fix: "A function takes one event per request; send batches to a broker",
  });
}

/** Binary mode, unless the event cannot be said safely in headers. */
export function encodeReply(event: Event): HttpMessage {
  if (needsStructured(event)) {
    const { contentType, body } = encodeStructured(event);
    return { headers: { "content-type": contentType }, body };
  }
  const raw = encodeBinaryHeaders(event);
  const headers: Record<string, string> = {};
  for (let at = 0; at + 1 < raw.length; at += 2) headers[raw[at] ?? ""] = raw[at + 1] ?? "";
  return { headers, body: event.data };
}
