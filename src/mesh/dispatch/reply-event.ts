/** What becomes of a subscriber's reply on its way back into the broker. Pure. */
import type { Attributes, Event } from "../event/event.ts";
import type { Failure } from "./deliver.ts";
import type { Parcel } from "./parcel.ts";

/** The reply with its place in the flow: same correlation as its cause, caused by the delivered event. */
export function correlate(cause: Event, reply: Event): Event {
  const { id, correlationid } = cause.attributes;
  const attributes: Record<string, string> = Object.assign(Object.create(null), reply.attributes);
  attributes.correlationid ??= correlationid ?? id;
  attributes.causationid ??= id;
  return { attributes: attributes as unknown as Attributes, data: reply.data };
}

/** A reply that may not enter: the events that trigger each other go in circles. */
export function loopFailure(
  parcel: Parcel,
  reply: Event,
  { status, ms }: { status: number; ms: number },
): Failure {
  const { event, broker, route } = parcel;
  const chain = `${event.attributes.type} (${event.attributes.id}) → ${route.namespace}/${route.name} → ${reply.attributes.type} (${reply.attributes.id})`;
  return {
    error: "LoopDetected",
    message: `no hops left of ${broker.hopsMax}: ${chain}`,
    status,
    ms,
  };
}
