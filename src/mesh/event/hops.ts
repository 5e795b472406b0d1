/**
 * The loop guard, as Knative has it on the wire: `knativebrokerttl` says how many hops an event has left. It
 * is counted down at every entry into a broker and taken off before a subscriber sees the event; a reply
 * inherits what its cause had left, whatever the function set (sheet knative-eventing §5.6).
 */
import { amend } from "./attributes.ts";
import type { Event } from "./event.ts";

export const hopsAttribute = "knativebrokerttl";

const integer = /^-?\d{1,9}$/;

/** The event with one hop taken, or undefined when none was left. Absent or unreadable hops start at `hopsMax`. */
export function takeHop(event: Event, hopsMax: number): Event | undefined {
  const stated = event.attributes[hopsAttribute];
  const hops = stated !== undefined && integer.test(stated) ? Number(stated) - 1 : hopsMax;
  if (hops <= 0) return undefined;
  return withHops(event, `${hops}`);
}

/** The event without its hop count, and that count. */
export function removeHops(event: Event): { event: Event; hops: string | undefined } {
  const hops = event.attributes[hopsAttribute];
  if (hops === undefined) return { event, hops };
  return { event: withHops(event, undefined), hops };
}

/** A reply carries its cause's hop count, never its own. */
export function inheritHops(reply: Event, hops: string | undefined): Event {
  if (hops === undefined && reply.attributes[hopsAttribute] === undefined) return reply;
  return withHops(reply, hops);
}

function withHops(event: Event, hops: string | undefined): Event {
  return amend(event, { [hopsAttribute]: hops });
}
