/** What becomes of a subscriber's reply on its way back into the broker. Pure. */
import { z } from "zod";
import { amend } from "../event/attributes.ts";
import type { Event } from "../event/event.ts";
import { addressBeyond, encodeAddress, type ReplyAddress } from "../reply/address.ts";
import type { Dead } from "../reply/ending.ts";
import type { RawHeaders } from "../stream/publish.ts";
import type { Failure } from "./deliver.ts";
import type { Parcel } from "./parcel.ts";

/** The reply with its place in the flow: same correlation as its cause, caused by the delivered event. */
export function correlate(cause: Event, reply: Event): Event {
  const { id } = cause.attributes;
  const { correlationid = cause.attributes.correlationid ?? id, causationid = id } = reply.attributes;
  return amend(reply, { correlationid, causationid });
}

/** What a reply carries on beside it when whoever waits, waits for a later one. */
export function addressAfter(address: ReplyAddress | undefined, reply: Event): RawHeaders {
  const onward = address && addressBeyond(address, reply.attributes.type);
  return onward === undefined ? [] : encodeAddress(onward);
}

/** Why whoever waits gets no reply. `deadLetter` is null when a dead-letter sink took the event. */
export function obituary(
  { broker, route, event, history: { dead } }: Parcel,
  deadLetter: string | null,
): Omit<Dead, "kind"> {
  const { id, type } = event.attributes;
  return {
    namespace: broker.namespace,
    broker: broker.name,
    trigger: `${route.namespace}/${route.name}`,
    reason: dead?.reason ?? "EventInvalid",
    deadLetter,
    event: { id, type },
    lastAttempt: {
      error: dead?.why.error ?? "",
      status: dead?.why.status ?? null,
      message: dead === undefined ? "" : messageIn(dead.why),
    },
  };
}

const messageCharsMax = 1024;

/** What the subscriber said: the text of a problem in JSON (a function that threw), else the beginning of its answer. */
function messageIn({ message, body }: Failure): string {
  if (message !== undefined) return message.slice(0, messageCharsMax);
  const text = Buffer.from(body?.subarray(0, messageCharsMax) ?? []).toString("utf8");
  try {
    const said = problemSchema.parse(JSON.parse(text));
    return [said.error, said.message].filter((part) => part !== undefined).join(": ");
  } catch {
    return text;
  }
}

const problemSchema = z.object({ error: z.string().optional(), message: z.string() });

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
