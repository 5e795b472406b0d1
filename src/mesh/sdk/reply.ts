/**
 * Fills in what an author left out of an event it returns or emits, so that a redelivery of the same event
 * yields the same reply id and the chain of causes can be followed. Pure.
 */
import { createHash, randomUUID } from "node:crypto";
import type { CloudEvent, EventAttributes } from "./sdk.ts";

export interface ReplyOrigin {
  /** The event being handled; undefined for a plain HTTP request. */
  readonly incoming: CloudEvent | undefined;
  readonly service: { readonly namespace: string; readonly name: string };
  /** The type the function declares for its replies. */
  readonly replyType: string | undefined;
  /** The how-manieth event this request produced, from 0. */
  readonly index: number;
  readonly time: string;
}

/** Whatever the author set stays as it is. */
export function completeEvent<T>(
  attributes: EventAttributes & { readonly data?: T },
  origin: ReplyOrigin,
): CloudEvent<T> {
  const { incoming, service } = origin;
  const defaults: Record<string, unknown> = {
    specversion: "1.0",
    id: incoming === undefined ? randomUUID() : replyId(incoming, service, origin.index),
    source: `/namespaces/${service.namespace}/functions/${service.name}`,
    type: origin.replyType ?? `${incoming?.type ?? "http"}.reply`,
    time: origin.time,
    subject: incoming?.subject,
    correlationid: incoming?.correlationid ?? incoming?.id,
    causationid: incoming?.id,
    traceparent: incoming?.traceparent,
    tracestate: incoming?.tracestate,
  };
  const event: Record<string, unknown> = {};
  for (const [name, value] of [...Object.entries(defaults), ...Object.entries(attributes)]) {
    if (value !== undefined && value !== null) event[name] = value;
  }
  return event as unknown as CloudEvent<T>;
}

/** Same event, same function, same position: same id. */
export function replyId(
  incoming: { readonly source: string; readonly id: string },
  service: { readonly namespace: string; readonly name: string },
  index: number,
): string {
  const key = JSON.stringify([incoming.source, incoming.id, service.namespace, service.name, index]);
  return createHash("sha256").update(key).digest("hex").slice(0, 32);
}
