/**
 * How an event looks in a stream: NATS binary mode, or structured when its attributes are so large that they
 * would crowd out the headers JetStream and weft add (a header block ends at 64 KiB).
 */
import type { Msg } from "@nats-io/nats-core";
import type { Event } from "../event/event.ts";
import { encodeJson } from "../event/json.ts";
import { decodeNats, natsHeaderPairs } from "../event/nats.ts";
import type { HeaderRecord } from "./publish.ts";

const attributesInHeadersMax = 32 * 1024;
const nothing = new Uint8Array(0);

export function encodeStored(event: Event): { headers: Record<string, string>; payload: Uint8Array } {
  const headers: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of natsHeaderPairs(event)) {
    headers[name] = value;
    bytes += name.length + value.length + 4;
  }
  if (bytes <= attributesInHeadersMax) return { headers, payload: event.data ?? nothing };
  return { headers: { "content-type": "application/cloudevents+json" }, payload: encodeJson(event) };
}

/** Throws EVENT_INVALID when the message is no valid event (a NATS client published it straight). */
export function decodeStored(message: Pick<Msg, "headers" | "data">): Event {
  return decodeNats(message.headers ?? [], message.data);
}

/** The headers that travelled beside the event, by the predicate of who passes them on. */
export function headersBeside(
  message: Pick<Msg, "headers">,
  isPassedOn: (name: string) => boolean,
): HeaderRecord {
  const beside: Record<string, string> = {};
  for (const [name, values] of message.headers ?? []) {
    if (isPassedOn(name) && values[0] !== undefined) beside[name] = values[0];
  }
  return beside;
}
