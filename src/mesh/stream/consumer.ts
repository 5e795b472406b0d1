/**
 * A trigger's durable consumers: `t-<uid>` on the broker's event stream, and one of the same name on its
 * redrive stream. One filter subject each (a server bug forbids several), never a delivery limit: when to
 * give up is the dispatcher's decision.
 */
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  type JetStreamManager,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import { rfc3339 } from "../clock.ts";
import type { FilterSpec } from "../filter/filter.ts";
import { pushdown } from "../filter/pushdown.ts";
import type { Rewind, StartPoint } from "../routes/route.ts";
import { ignoring, isApiError } from "./stream.ts";
import {
  type BrokerKey,
  consumerName,
  eventPrefixFilter,
  eventStream,
  eventSubject,
  eventSubjectPrefix,
  eventSubjects,
  journalStream,
  redriveStream,
  redriveSubject,
  triggerAttempts,
} from "./subjects.ts";

/** Un-acked deliveries a consumer keeps before it stops; events in back-off count, so far above any window. */
const ackPendingMax = 20_000;
/** A silent dispatcher's events come back after this; a live one says `working` every third of it. */
export const ackWaitMs = 12_000;

/** On the consumer: the last rewind it has been through. */
const rewindMetadata = "weft.dev/rewind";

const consumerExists = 10148;
const consumerNotFound = 10014;
const streamNotFound = 10059;

/** The narrowest single subject that holds every event the filters can match. */
export function filterSubject(broker: BrokerKey, filters: readonly FilterSpec[]): string {
  const { constraint } = pushdown(filters);
  switch (constraint.kind) {
    case "any":
      return eventSubjects(broker);
    case "exact":
      return eventSubject(eventSubjectPrefix(broker), constraint.type);
    case "prefix":
      return eventPrefixFilter(broker, constraint.tokens);
  }
}

export interface TriggerConsumer {
  readonly broker: BrokerKey;
  readonly triggerUid: string;
  readonly filters: readonly FilterSpec[];
  /** Where a consumer that has to be made begins; undefined: with the next event. */
  readonly start: StartPoint | undefined;
  readonly rewind: Rewind | undefined;
  /** How long a delivery may stay without a sign of life; absent: `ackWaitMs`. */
  readonly ackWaitMs?: number;
}

/** Creates or updates both consumers, and rewinds if that is asked for. Idempotent. */
export async function ensureTriggerConsumers(jsm: JetStreamManager, trigger: TriggerConsumer): Promise<void> {
  const { broker, triggerUid, filters, start, rewind, ackWaitMs: waitMs = ackWaitMs } = trigger;
  const ack_wait = nanos(waitMs);
  const from = rewind === undefined ? start : await makeWayForRewind(jsm, { broker, triggerUid, rewind });
  await Promise.all([
    ensureConsumer(jsm, eventStream(broker), {
      durable_name: consumerName(triggerUid),
      ack_wait,
      filter_subject: filterSubject(broker, filters),
      ...deliverFrom(from),
      ...(rewind === undefined ? {} : { metadata: { [rewindMetadata]: rewind.at } }),
    }),
    ensureConsumer(jsm, redriveStream(broker), {
      durable_name: consumerName(triggerUid),
      ack_wait,
      filter_subject: redriveSubject(broker, triggerUid),
      deliver_policy: DeliverPolicy.All,
    }),
  ]);
}

/**
 * A consumer of ours cannot be set back, so the old one goes and a new one begins at the sequence. Nothing it
 * still owed is skipped: it begins no later than that. The old attempts are forgotten with it, else an event that
 * was given up once would be given up again untried.
 */
async function makeWayForRewind(
  jsm: JetStreamManager,
  { broker, triggerUid, rewind }: { broker: BrokerKey; triggerUid: string; rewind: Rewind },
): Promise<StartPoint> {
  const info = await consumerInfo(jsm, eventStream(broker), triggerUid);
  // Gone already: a rewind that was interrupted, or a trigger that was made with one.
  const owedFrom = info === undefined ? rewind.sequence : info.ack_floor.stream_seq + 1;
  const sequence = Math.max(1, Math.min(rewind.sequence, owedFrom));
  if (info?.config.metadata?.[rewindMetadata] === rewind.at) return { kind: "sequence", sequence };
  await jsm.consumers
    .delete(eventStream(broker), consumerName(triggerUid))
    .catch(ignoring(consumerNotFound, streamNotFound));
  await jsm.streams.purge(journalStream(broker), { filter: triggerAttempts(broker, triggerUid) });
  return { kind: "sequence", sequence };
}

function deliverFrom(
  start: StartPoint | undefined,
): Pick<ConsumerConfig, "deliver_policy"> & Partial<ConsumerConfig> {
  switch (start?.kind) {
    case undefined:
    case "new":
      return { deliver_policy: DeliverPolicy.New };
    case "first":
      return { deliver_policy: DeliverPolicy.All };
    case "sequence":
      return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: start.sequence };
    case "time":
      return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: rfc3339(start.atMs) };
  }
}

/** Removes both; what the trigger still owed goes with them. Idempotent. */
export async function removeTriggerConsumers(
  jsm: JetStreamManager,
  { broker, triggerUid }: { broker: BrokerKey; triggerUid: string },
): Promise<void> {
  const name = consumerName(triggerUid);
  const gone = ignoring(consumerNotFound, streamNotFound);
  await Promise.all([
    jsm.consumers.delete(eventStream(broker), name).catch(gone),
    jsm.consumers.delete(redriveStream(broker), name).catch(gone),
    jsm.streams.purge(redriveStream(broker), { filter: redriveSubject(broker, triggerUid) }).catch(gone),
  ]);
}

/** What NATS knows of one consumer; undefined when it does not exist. */
export async function consumerInfo(
  jsm: JetStreamManager,
  stream: string,
  triggerUid: string,
): Promise<ConsumerInfo | undefined> {
  return jsm.consumers
    .info(stream, consumerName(triggerUid))
    .catch(ignoring(consumerNotFound, streamNotFound));
}

interface ConsumerBasics {
  readonly durable_name: string;
  readonly ack_wait: number;
  readonly filter_subject: string;
}

async function ensureConsumer(
  jsm: JetStreamManager,
  stream: string,
  specific: Partial<ConsumerConfig> & ConsumerBasics,
): Promise<void> {
  const config = {
    ...specific,
    ack_policy: AckPolicy.Explicit,
    max_deliver: -1,
    max_ack_pending: ackPendingMax,
  };
  try {
    await jsm.consumers.add(stream, config);
  } catch (error) {
    if (!isApiError(error, consumerExists)) throw error;
    const { filter_subject, ack_wait, max_ack_pending } = config;
    await jsm.consumers.update(stream, specific.durable_name, { filter_subject, ack_wait, max_ack_pending });
  }
}
