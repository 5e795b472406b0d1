/** WHAT happened to an event at one trigger: the records of the journal (DESIGN §4) and their schemas. */
import { z } from "zod";

/** Bytes of an answer kept with a failed attempt. */
export const bodyBytesKept = 1024;

const place = {
  /** `<namespace>/<broker>` */
  broker: z.string(),
  /** `<namespace>/<trigger>` */
  trigger: z.string(),
  triggerUid: z.string(),
  /** Position in the stream it came from: `e`vents or `r`edrives. */
  origin: z.enum(["e", "r"]),
  sequence: z.number().int(),
  id: z.string(),
  type: z.string(),
  source: z.string(),
  /** When it ended, RFC 3339. */
  at: z.string(),
  /** How long the attempt took, milliseconds. */
  ms: z.number(),
};

export const attemptRecordSchema = z.object({
  ...place,
  kind: z.literal("attempt"),
  /** Who was called. */
  phase: z.enum(["subscriber", "sink"]),
  /** 1 for the first attempt of this phase. */
  attempt: z.number().int(),
  /** The URI called. */
  destination: z.string(),
  /** HTTP status, absent when there was no answer. */
  status: z.number().int().optional(),
  /** A code for what went wrong: `Http503`, `Timeout`, `ConnectionRefused`, `ReplyInvalid`, … */
  error: z.string(),
  message: z.string().optional(),
  /** The beginning of the answer, base64. */
  body: z.string().optional(),
  /** Wait before the next attempt; absent when there is none. */
  retryAfterMs: z.number().optional(),
  /** Set on the last attempt of the phase: why no further one is made. */
  dead: z.string().optional(),
});

export const outcomeRecordSchema = z.object({
  ...place,
  kind: z.literal("outcome"),
  outcome: z.enum(["delivered", "filtered", "expired", "dead", "deadToSink"]),
  /** Attempts made in all. */
  attempts: z.number().int(),
  status: z.number().int().optional(),
  /** The reply's type and id, when one was stored. */
  reply: z.object({ type: z.string(), id: z.string() }).optional(),
  /** What an operator should know, e.g. that a body was ignored. */
  note: z.string().optional(),
  /** Why it is dead. */
  reason: z.string().optional(),
});

export type AttemptRecord = z.output<typeof attemptRecordSchema>;
export type OutcomeRecord = z.output<typeof outcomeRecordSchema>;

/** An event nobody wanted; only followers see it, the event itself is in the stream. */
export const unmatchedRecordSchema = z.object({
  kind: z.literal("unmatched"),
  broker: z.string(),
  id: z.string(),
  type: z.string(),
  source: z.string(),
  at: z.string(),
});
export type UnmatchedRecord = z.output<typeof unmatchedRecordSchema>;

export type JournalRecord = AttemptRecord | OutcomeRecord | UnmatchedRecord;

export const outcomeBatchSchema = z.array(outcomeRecordSchema);
