/** One delivery in the dispatcher's hands: the event, where it came from, what was tried before. */
import type { Event } from "../event/event.ts";
import type { AttemptRecord } from "../journal/record.ts";
import type { ReplyAddress } from "../reply/address.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import type { RawHeaders } from "../stream/publish.ts";
import type { Delivery } from "../stream/puller.ts";
import type { DeadReason, Failure } from "./deliver.ts";

/** What was tried at this delivery before, in memory or read back from the journal. */
export interface History {
  /** Failed attempts at the subscriber. */
  failed: number;
  /** When its back-off ends, epoch milliseconds; 0 when it is in none. */
  retryAtMs: number;
  /** Failed attempts at the dead-letter sink. */
  sinkFailed: number;
  /** Set once the subscriber is given up: from then on only the dead letter is delivered. */
  dead: { reason: DeadReason; why: Failure } | undefined;
  /** The sink is given up too. */
  sinkGivenUp: boolean;
}

/** `<namespace>/<name>`, made once for all deliveries of a trigger. */
export interface ParcelNames {
  readonly broker: string;
  readonly trigger: string;
}

export interface Parcel {
  readonly delivery: Delivery;
  readonly origin: "e" | "r";
  readonly broker: BrokerRoute;
  readonly route: TriggerRoute;
  readonly names: ParcelNames;
  readonly event: Event;
  /** Hops the event has left, taken off its attributes. */
  readonly hops: string | undefined;
  /** Headers that travel beside the event. */
  readonly beside: RawHeaders;
  /** Who waits for the reply to it. */
  readonly replyTo: ReplyAddress | undefined;
  /** The dead letter this is a redelivery of. */
  readonly deadLetterId: string | undefined;
  /** Its broker was deleted; one of the same name, whose streams are named like the old ones, may be there. */
  readonly isOrphaned: () => boolean;
  readonly history: History;
}

/**
 * The trigger as the cause of what a delivery leads to: after a rewind it is another one, so that replies and dead
 * letters of the same events are no duplicates of those before it.
 */
export function incarnationOf({ uid, rewind }: Pick<TriggerRoute, "uid" | "rewind">): string {
  return rewind === undefined ? uid : `${uid}@${rewind.at}`;
}

export function freshHistory(): History {
  return { failed: 0, retryAtMs: 0, sinkFailed: 0, dead: undefined, sinkGivenUp: false };
}

/** What the journal says was tried; attempts interrupted by a crash were never recorded and are made again. */
export function historyOf(attempts: readonly AttemptRecord[]): History {
  const history = freshHistory();
  for (const record of attempts) {
    history.retryAtMs = record.retryAfterMs === undefined ? 0 : Date.parse(record.at) + record.retryAfterMs;
    if (record.phase === "sink") {
      history.sinkFailed = record.attempt;
      history.sinkGivenUp = record.dead !== undefined;
      continue;
    }
    history.failed = record.attempt;
    if (record.dead !== undefined) {
      history.dead = { reason: record.dead as DeadReason, why: failureOf(record) };
    }
  }
  return history;
}

function failureOf(record: AttemptRecord): Failure {
  return {
    error: record.error,
    ms: record.ms,
    ...(record.status === undefined ? {} : { status: record.status }),
    ...(record.message === undefined ? {} : { message: record.message }),
    ...(record.body === undefined ? {} : { body: Buffer.from(record.body, "base64") }),
  };
}
