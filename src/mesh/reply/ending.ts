/**
 * How a request ended, and which event it has come to: small entries in the stream of replies, so that an answer
 * that reached nobody (the waiting process was killed, the wait was over) can still be fetched by its token.
 *
 * G1  the first reply stays the reply: it is written once and no other takes its place.
 * G2  a dead letter may be redriven: a reply takes the place of one.
 */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { z } from "zod";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { removeHops } from "../event/hops.ts";
import { type Publisher, type RawHeaders, serverErrorCode } from "../stream/publish.ts";
import { decodeStored, encodeStored } from "../stream/stored-event.ts";
import { ignoring } from "../stream/stream.ts";
import {
  type BrokerKey,
  eventStream,
  replyProgressSubject,
  replyStream,
  replySubject,
} from "../stream/subjects.ts";

const placeSchema = z.object({ namespace: z.string(), broker: z.string(), sequence: z.number().int() });

/** One stored event. */
export type Place = z.output<typeof placeSchema>;

export const deadSchema = z.object({
  kind: z.literal("dead"),
  namespace: z.string(),
  broker: z.string(),
  trigger: z.string(),
  reason: z.string(),
  /** Of the dead letter; null when the trigger's dead-letter sink took it. */
  deadLetter: z.string().nullable(),
  /** The event that died: the request's, or one on the way to its reply. */
  event: z.object({ id: z.string(), type: z.string() }),
  /** A code for what went wrong, the HTTP status if there was an answer, and what it said. */
  lastAttempt: z.object({ error: z.string(), status: z.number().int().nullable(), message: z.string() }),
});

/** Why no reply will come. */
export type Dead = z.output<typeof deadSchema>;

const endingSchema = z.discriminatedUnion("kind", [
  placeSchema.extend({ kind: z.literal("reply") }),
  deadSchema,
]);

/** As it is stored: a reply is where it lies in its broker's stream, or a copy when that is not known. */
export type Ending = z.output<typeof endingSchema> | { readonly kind: "copy"; readonly event: Event };

/** As a waiter gets it. */
export type Answer = { readonly kind: "reply"; readonly event: Event } | Dead;

const copyHeader = "weft-reply-copy";
const placeTaken = 10071;
const gone = [10037, 10059];
const expectedSequence = "Nats-Expected-Last-Subject-Sequence";
const firstOfSubject: RawHeaders = [expectedSequence, "0"];

export function placeOf({ namespace, name }: BrokerKey, sequence: number): Place {
  return { namespace, broker: name, sequence };
}

/** Writes it unless there is one already (G1, G2); resolves to whether it is the one that counts. */
export async function writeEnding(
  { jsm, publisher }: { jsm: JetStreamManager; publisher: Publisher },
  token: string,
  ending: Ending,
): Promise<boolean> {
  const subject = replySubject(token);
  const { headers, payload } = encodeEnding(ending);
  try {
    await publisher.publish(subject, payload, [...headers, ...firstOfSubject]);
    return true;
  } catch (error) {
    if (serverErrorCode(error) !== placeTaken) throw error;
  }
  const there = await readEnding(jsm, token);
  if (there?.ending.kind === "dead" && ending.kind !== "dead") {
    await publisher.publish(subject, payload, [...headers, expectedSequence, `${there.revision}`]);
    return true;
  }
  // The same delivery settled a second time: who waited may not have heard of it the first time.
  return there !== undefined && isSame(there.ending, ending);
}

function encodeEnding(ending: Ending): { headers: RawHeaders; payload: Uint8Array } {
  if (ending.kind !== "copy") return { headers: [], payload: Buffer.from(JSON.stringify(ending)) };
  const { headers, payload } = encodeStored(ending.event);
  return { headers: [...headers, copyHeader, "1"], payload };
}

function decodeEnding({ header, data }: StoredMsg): Ending | undefined {
  if (header?.get(copyHeader) === "1")
    return { kind: "copy", event: decodeStored({ headers: header, data }) };
  return endingSchema.safeParse(JSON.parse(Buffer.from(data).toString("utf8"))).data;
}

function isSame(a: Ending, b: Ending): boolean {
  if (a.kind !== "copy" || b.kind !== "copy") return JSON.stringify(a) === JSON.stringify(b);
  const [one, other] = [a.event.attributes, b.event.attributes];
  return one.id === other.id && one.source === other.source;
}

async function readEnding(
  jsm: JetStreamManager,
  token: string,
): Promise<{ ending: Ending; revision: number } | undefined> {
  const message = await readLast(jsm, replySubject(token));
  const ending = message === undefined ? undefined : decodeEnding(message);
  return message === undefined || ending === undefined ? undefined : { ending, revision: message.seq };
}

/** undefined while it has not ended, and when nothing is known of it any more. */
export async function readAnswer(jsm: JetStreamManager, token: string): Promise<Answer | undefined> {
  const found = await readEnding(jsm, token);
  if (found === undefined) return undefined;
  const { ending } = found;
  if (ending.kind === "dead") return ending;
  if (ending.kind === "copy") return { kind: "reply", event: ending.event };
  const event = await readPlace(jsm, ending);
  return event === undefined ? undefined : { kind: "reply", event };
}

/** Notes which event the request has come to; `first` leaves a later note in its place. */
export async function writeProgress(
  publisher: Publisher,
  token: string,
  { place, first }: { place: Place; first: boolean },
): Promise<void> {
  const payload = Buffer.from(JSON.stringify(place));
  try {
    await publisher.publish(replyProgressSubject(token), payload, first ? firstOfSubject : []);
  } catch (error) {
    if (serverErrorCode(error) !== placeTaken) throw error;
  }
}

export async function readProgress(jsm: JetStreamManager, token: string): Promise<Place | undefined> {
  const message = await readLast(jsm, replyProgressSubject(token));
  return placeSchema.safeParse(message?.json()).data;
}

/** The event as its subscribers see it; undefined when it is no longer stored or cannot be read. */
export async function readPlace(
  jsm: JetStreamManager,
  { namespace, broker, sequence }: Place,
): Promise<Event | undefined> {
  const message = await readStored(jsm, { namespace, name: broker }, sequence);
  if (message === undefined) return undefined;
  try {
    return removeHops(decodeStored({ headers: message.header, data: message.data })).event;
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}

/** The stored message of an event; undefined when it is gone. */
export async function readStored(jsm: JetStreamManager, broker: BrokerKey, sequence: number) {
  const message = await jsm.streams
    .getMessage(eventStream(broker), { seq: sequence })
    .catch(ignoring(...gone));
  return message ?? undefined;
}

async function readLast(jsm: JetStreamManager, subject: string) {
  const message = await jsm.streams
    .getMessage(replyStream, { last_by_subj: subject })
    .catch(ignoring(...gone));
  return message ?? undefined;
}
