/**
 * Looks after the event streams of all brokers of the route table: makes room by deleting what no trigger needs,
 * and says when a broker must not take more (guard-decision.ts). Any number of processes may do so at once.
 *
 * S1  what a trigger owes is asked of all consumers there are on the stream, not of the routes: a trigger may be
 *     so new that its route has not come here yet. If one does not answer, nothing is deleted.
 * S2  the stream is looked at before its consumers, and on a cluster a while before: a replica behind the others
 *     may not know of an event yet, and its consumer then owes nothing for it.
 * S3  when NATS does not answer the last verdict stands; publishing fails by itself then.
 */
import type { ConsumerInfo, JetStreamManager, StreamInfo } from "@nats-io/jetstream";
import type { Clock, Timer } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { BrokerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import { decideGuard, type Hold, isCalm, isSameRefusal, type Refusal } from "./guard-decision.ts";
import { sequenceAt } from "./position.ts";
import { ignoring } from "./stream.ts";
import { type BrokerKey, consumerName, eventStream, isTriggerConsumer } from "./subjects.ts";

export interface StreamGuardOptions {
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly log: Log;
  readonly table: RouteTable;
  /** How long events can be replayed. */
  readonly ageMaxMs: number;
  /** The cap of a stream that has none of its own. */
  readonly bytesMax: () => number;
  /** A broker is refused events from now on, or no longer, or for another reason. Must not throw. */
  readonly onChange?: () => void;
}

const tickMs = 250;
/** A stream that is far from its limits is looked at every so many ticks. */
const calmTicks = 8;
/** What consumers know of older events than this is the same on every replica. S2. */
const replicasSettleMs = 10_000;
const streamNotFound = 10059;
const messageNotFound = 10037;

interface Watched {
  refusal: Refusal | undefined;
  bytes: number;
  bytesMax: number;
  nextTick: number;
  looking: boolean;
  /** Last sequences of earlier looks, oldest first. */
  readonly seen: { readonly atMs: number; readonly lastSequence: number }[];
}

export class StreamGuard implements Closeable {
  readonly #options: StreamGuardOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #timer: Timer;
  readonly #looks = new Set<Promise<void>>();
  #tick = 0;

  constructor(options: StreamGuardOptions) {
    this.#options = options;
    this.#timer = options.clock.every(tickMs, () => this.#lookAround());
  }

  /** Why the broker (`<namespace>/<broker>`) must not take events now: STREAM_FULL, or undefined. */
  refusal(path: string): MeshError | undefined {
    const watched = this.#watched.get(path);
    if (watched?.refusal === undefined) return undefined;
    return streamFull(path, { ...watched, refusal: watched.refusal }, this.#nameOf(watched.refusal.hold));
  }

  /** All that hold now, by broker (`<namespace>/<broker>`). */
  refusals(): ReadonlyMap<string, MeshError> {
    const found = [...this.#watched.keys()].map((path) => [path, this.refusal(path)] as const);
    return new Map(found.flatMap(([path, refusal]) => (refusal === undefined ? [] : [[path, refusal]])));
  }

  async close(): Promise<void> {
    this.#timer.cancel();
    await Promise.all(this.#looks);
  }

  #lookAround(): void {
    this.#tick++;
    const { table, log } = this.#options;
    const brokers = new Map(table.routes.brokers.map((route) => [`${route.namespace}/${route.name}`, route]));
    for (const path of this.#watched.keys()) if (!brokers.has(path)) this.#forget(path);
    for (const [path, broker] of brokers) {
      const watched = this.#watched.get(path) ?? unseen();
      this.#watched.set(path, watched);
      if (watched.looking || watched.nextTick > this.#tick) continue;
      watched.looking = true;
      const look = this.#look(broker, watched).finally(() => {
        watched.looking = false;
        this.#looks.delete(look);
      });
      this.#looks.add(look);
      background(look, (error) =>
        log.debug({ stage: "stream", broker: path, error: messageOf(error) }, "a stream was not looked at"),
      );
    }
  }

  async #look(broker: BrokerRoute, watched: Watched): Promise<void> {
    const { jsm, clock, ageMaxMs, bytesMax, log } = this.#options;
    const stream = eventStream(broker);
    const info = await jsm.streams.info(stream).catch(ignoring(streamNotFound));
    if (info === undefined) return;
    const { state, config } = info;
    const cap = config.max_bytes > 0 ? config.max_bytes : bytesMax();
    const oldestMs = state.messages === 0 ? 0 : clock.now() - Date.parse(`${state.first_ts}`);
    const knownSequence = this.#known(info, watched);
    watched.bytes = state.bytes;
    watched.bytesMax = cap;
    const calm = isCalm({ bytes: state.bytes, bytesMax: cap, oldestMs, ageMaxMs });
    watched.nextTick = this.#tick + (calm ? calmTicks : 1);
    if (calm) {
      this.#decide(watched, undefined);
      return;
    }
    const holds = await this.#holds(broker, info);
    const tooOld = oldestMs > ageMaxMs;
    const youngSequence = tooOld
      ? await sequenceAt(jsm, stream, { kind: "time", atMs: clock.now() - ageMaxMs })
      : undefined;
    const level = {
      bytes: state.bytes,
      events: state.messages,
      firstSequence: state.first_seq,
      knownSequence,
      bytesMax: cap,
      ageMaxMs,
      youngSequence,
    };
    const { purgeBefore, refusal } = decideGuard(level, holds, watched.refusal);
    if ((refusal === undefined) !== (watched.refusal === undefined)) {
      const fields = { stage: "stream", broker: `${broker.namespace}/${broker.name}`, ...refusal };
      log.warn(fields, refusal === undefined ? "events are taken again" : "events are refused");
    }
    this.#decide(watched, refusal);
    if (purgeBefore !== undefined) await jsm.streams.purge(stream, { seq: purgeBefore });
  }

  #decide(watched: Watched, refusal: Refusal | undefined): void {
    const { refusal: before } = watched;
    watched.refusal = refusal;
    if (!isSameRefusal(before, refusal)) this.#options.onChange?.();
  }

  #forget(path: string): void {
    const wasRefused = this.#watched.get(path)?.refusal !== undefined;
    this.#watched.delete(path);
    if (wasRefused) this.#options.onChange?.();
  }

  /** S2. */
  #known({ state, config }: StreamInfo, { seen }: Watched): number {
    if (config.num_replicas <= 1) return state.last_seq;
    const now = this.#options.clock.monotonic();
    seen.push({ atMs: now, lastSequence: state.last_seq });
    while ((seen[1]?.atMs ?? now) <= now - replicasSettleMs) seen.shift();
    const [oldest] = seen;
    return oldest !== undefined && oldest.atMs <= now - replicasSettleMs ? oldest.lastSequence : 0;
  }

  /** S1. Rejects when not all consumers could be asked. */
  async #holds(broker: BrokerKey, { state }: StreamInfo): Promise<Hold[]> {
    const { jsm } = this.#options;
    const consumers: ConsumerInfo[] = [];
    for await (const consumer of jsm.consumers.list(eventStream(broker))) consumers.push(consumer);
    if (consumers.length < state.consumer_count) throw new Error("not all consumers answered");
    const owing = consumers.filter(
      ({ name, num_pending, num_ack_pending }) =>
        isTriggerConsumer(name) && num_pending + num_ack_pending > 0,
    );
    return Promise.all(owing.map((consumer) => this.#hold(broker, consumer)));
  }

  async #hold(broker: BrokerKey, consumer: ConsumerInfo): Promise<Hold> {
    const { jsm, clock } = this.#options;
    const { ack_floor, config, num_pending, num_ack_pending, name } = consumer;
    // The floor of a consumer that had nothing to do for long lies far behind the first event it owes. Asked of the
    // leader: a replica may not have that event yet.
    const query = { seq: ack_floor.stream_seq + 1, next_by_subj: config.filter_subject ?? ">" };
    const first = await jsm.streams
      .getMessage(eventStream(broker), query)
      .catch(ignoring(messageNotFound, streamNotFound));
    return {
      triggerUid: name.replace(/^t-/, ""),
      sequence: first?.seq ?? query.seq,
      ageMs: first == null ? 0 : clock.now() - first.time.getTime(),
      owed: num_pending + num_ack_pending,
    };
  }

  #nameOf({ triggerUid }: Hold): string {
    const route = this.#options.table.routes.triggers.find(
      ({ uid }) => consumerName(uid) === `t-${triggerUid}`,
    );
    return route === undefined ? `of uid ${triggerUid}` : `${route.namespace}/${route.name}`;
  }
}

function unseen(): Watched {
  return { refusal: undefined, bytes: 0, bytesMax: 0, nextTick: 0, looking: false, seen: [] };
}

function streamFull(
  path: string,
  { bytes, bytesMax, refusal: { because, hold } }: Watched & { refusal: Refusal },
  trigger: string,
): MeshError {
  const waits = `trigger ${trigger} has yet to take ${hold.owed} events`;
  return new MeshError("STREAM_FULL", {
    field: `broker ${path}`,
    found:
      because === "size"
        ? `${bytes} of at most ${bytesMax} bytes stored: ${waits}`
        : `an event ${Math.round(hold.ageMs / 1000)} s old, and older ones are not kept: ${waits}`,
    fix: `Let the trigger catch up (weft status), resume or delete it, or raise ${because === "size" ? "--stream-bytes-max" : "--retention"}`,
  });
}
