/**
 * The streams of one broker (DESIGN §4): events, dead letters, redrives, delayed events, journal. `ensure` is
 * idempotent and updates what may be updated.
 */
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import {
  type BrokerKey,
  bucketStream,
  counterStream,
  counterSubjects,
  deadLetterStream,
  deadLetterSubjects,
  delayedStream,
  delayedSubjects,
  eventStream,
  eventSubjects,
  journalStream,
  journalSubjects,
  redriveStream,
  redriveSubjects,
  replyStream,
  replySubjects,
} from "./subjects.ts";

export interface StreamLimits {
  readonly replicas: number;
  /** How long an event can be replayed; the guard sees to it (guard.ts), so that nothing goes that is still owed. */
  readonly eventAgeMs: number;
  /** The most a broker's events may take; undefined: as much as the server has. */
  readonly eventBytesMax?: number | undefined;
  /** Window in which a repeated (source, id) is a duplicate. */
  readonly dedupeMs: number;
  readonly journalAgeMs: number;
  readonly journalBytesMax: number;
}

/** How long the reply of a request can be fetched. */
const replyAgeMs = 24 * 3_600_000;
const replyBytesMax = 64 * 1024 * 1024;

/**
 * Of a stream whose consumers are triggers. Where a stream says nothing, nats-server allows for a thousand (2.15:
 * default_max_consumers).
 */
const triggersMax = 100_000;

const streamConfigInvalid = 10052;
const streamExists = 10058;
const streamNotFound = 10059;

export async function ensureBrokerStreams(
  jsm: JetStreamManager,
  broker: BrokerKey,
  limits: StreamLimits,
): Promise<void> {
  const metadata = { "weft.dev/broker": `${broker.namespace}/${broker.name}` };
  const max_consumers = await consumersMaxIn(jsm);
  const common = {
    storage: StorageType.File,
    num_replicas: limits.replicas,
    allow_direct: true,
    metadata,
  };
  await Promise.all([
    ensureStream(jsm, {
      ...common,
      name: eventStream(broker),
      subjects: [eventSubjects(broker)],
      max_consumers,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.New,
      // JetStream would trim by age whatever is owed, even while nobody runs to see it.
      max_age: 0,
      max_bytes: limits.eventBytesMax ?? -1,
      duplicate_window: nanos(limits.dedupeMs),
      allow_atomic: true,
    }),
    ensureStream(jsm, {
      ...common,
      name: deadLetterStream(broker),
      subjects: [deadLetterSubjects(broker)],
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.New,
    }),
    ensureStream(jsm, {
      ...common,
      name: redriveStream(broker),
      subjects: [redriveSubjects(broker)],
      max_consumers,
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
    }),
    // Schedules demand discard old; without any limit nothing is ever discarded.
    ensureStream(jsm, {
      ...common,
      name: delayedStream(broker),
      subjects: [delayedSubjects(broker)],
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      allow_msg_schedules: true,
      allow_rollup_hdrs: true,
      allow_atomic: true,
    }),
    ensureStream(jsm, {
      ...common,
      name: journalStream(broker),
      subjects: [journalSubjects(broker)],
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      max_age: nanos(limits.journalAgeMs),
      max_bytes: limits.journalBytesMax,
    }),
  ]);
}

/** An account with a limit of its own lets no stream name a higher one; it holds without being named. */
async function consumersMaxIn(jsm: JetStreamManager): Promise<number> {
  const { limits, tiers = {} } = await jsm.getAccountInfo();
  const isLimited = [limits, ...Object.values(tiers).map((tier) => tier?.limits)].some(
    (limit) => limit !== undefined && limit.max_consumers > 0,
  );
  return isLimited ? -1 : triggersMax;
}

/** Deletes every stream of a broker with all it holds. */
export async function removeBrokerStreams(jsm: JetStreamManager, broker: BrokerKey): Promise<void> {
  const names = [eventStream, deadLetterStream, redriveStream, delayedStream, journalStream];
  await Promise.all(names.map((name) => jsm.streams.delete(name(broker)).catch(ignoring(streamNotFound))));
}

/** The counters of every trigger and broker: NATS adds the increments up, so they survive any crash of ours. */
export function ensureCounterStream(jsm: JetStreamManager, replicas: number): Promise<void> {
  return ensureStream(jsm, {
    name: counterStream,
    subjects: [counterSubjects],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    storage: StorageType.File,
    num_replicas: replicas,
    max_msgs_per_subject: 1,
    allow_direct: true,
    allow_msg_counter: true,
  });
}

/** How requests ended, for who asks later: small entries, the newest per subject, the oldest make room. */
export function ensureReplyStream(jsm: JetStreamManager, replicas: number): Promise<void> {
  return ensureStream(jsm, {
    name: replyStream,
    subjects: [replySubjects],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    storage: StorageType.File,
    num_replicas: replicas,
    max_msgs_per_subject: 1,
    max_age: nanos(replyAgeMs),
    max_bytes: replyBytesMax,
    allow_direct: true,
  });
}

async function ensureStream(
  jsm: JetStreamManager,
  config: Partial<StreamConfig> & { name: string },
): Promise<void> {
  try {
    await jsm.streams.add(config);
  } catch (error) {
    if (!isApiError(error, streamExists)) throw error;
    const { config: now } = await jsm.streams.info(config.name);
    // A process that was started without the others' --replicas must not take copies away.
    const num_replicas = Math.max(now.num_replicas, config.num_replicas ?? 1);
    const wanted = { ...config, num_replicas };
    try {
      await jsm.streams.update(config.name, wanted);
    } catch (error) {
      const isOther = wanted.max_consumers === undefined || wanted.max_consumers === now.max_consumers;
      if (isOther || !isApiError(error, streamConfigInvalid)) throw error;
      // The first servers of 2.12 let no stream change that one.
      const unchanged = { ...wanted, max_consumers: now.max_consumers };
      await jsm.streams.update(config.name, unchanged);
    }
  }
}

/** Gives a bucket that was made with fewer copies as many as there should be. */
export async function ensureBucketReplicas(
  jsm: JetStreamManager,
  bucket: string,
  replicas: number,
): Promise<void> {
  const stream = bucketStream(bucket);
  const { config } = await jsm.streams.info(stream);
  if (config.num_replicas < replicas) await jsm.streams.update(stream, { num_replicas: replicas });
}

/** Whether `error` is the JetStream API error with this err_code (sheet nats-jetstream §11). */
export function isApiError(error: unknown, ...codes: number[]): boolean {
  return error instanceof JetStreamApiError && codes.includes(error.code);
}

/** A catch handler that swallows just these API errors. */
export function ignoring(...codes: number[]): (error: unknown) => undefined {
  return (error) => {
    if (!isApiError(error, ...codes)) throw error;
    return undefined;
  };
}
