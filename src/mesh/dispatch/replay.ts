/**
 * Replay: events of the past, once more, to exactly one trigger, through the redrive stream like a redriven dead
 * letter: durably, under the trigger's policy, marked with `weftreplay`.
 *
 * Y1  only events the trigger's filter matches now; what it has had is not asked.
 * Y2  an event is replayed when its copy is stored; a replay that is cut short has done all before its position.
 * Y3  what waits in the redrive stream for the trigger is bounded: beyond `backlogMax` the replay waits.
 */
import { randomUUID } from "node:crypto";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { type Clock, rfc3339 } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { compileWanted } from "../filter/wanted.ts";
import type { BrokerRoute, StartPoint, TriggerRoute } from "../routes/route.ts";
import { consumerInfo, filterSubject } from "../stream/consumer.ts";
import { readStretch, type Stretch, sequenceAt } from "../stream/position.ts";
import type { Publisher } from "../stream/publish.ts";
import { decodeStored, encodeStored, headersBeside } from "../stream/stored-event.ts";
import { eventStream, redriveStream, redriveSubject, replayMessageId } from "../stream/subjects.ts";
import { markReplayed } from "./replayed.ts";

export interface ReplayParts {
  readonly jsm: JetStreamManager;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly isPassedOn: (headerName: string) => boolean;
}

export interface ReplayRequest {
  readonly broker: BrokerRoute;
  readonly route: TriggerRoute;
  readonly from: StartPoint;
  /** The end, inclusive; undefined: everything that is stored now. */
  readonly to: StartPoint | undefined;
  /** undefined: as fast as it goes. */
  readonly perSecond: number | undefined;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

export type ReplayStep =
  | {
      readonly kind: "event";
      readonly sequence: number;
      readonly storedAt: string;
      readonly id: string;
      readonly source: string;
      readonly type: string;
    }
  /** All up to and including `sequence` is done. */
  | { readonly kind: "progress"; readonly sequence: number; readonly matched: number }
  | {
      readonly kind: "end";
      /** The mark its events carry; absent on a dry run. */
      readonly replay?: string;
      readonly fromSequence: number;
      readonly toSequence: number;
      readonly matched: number;
      /** Messages in between that are no events. */
      readonly unreadable: number;
      /** Cut short by whoever asked for it. */
      readonly stopped: boolean;
    };

const backlogMax = 10_000;
const backlogPollMs = 200;

/** Finds the stretch first, so that a place that does not exist is refused before anything is replayed. */
export async function startReplay(
  parts: ReplayParts,
  request: ReplayRequest,
): Promise<AsyncGenerator<ReplayStep>> {
  const { broker, route, from, to } = request;
  const fromSequence = await sequenceAt(parts.jsm, eventStream(broker), from);
  const end = await endOf(parts.jsm, eventStream(broker), to);
  const stretch = { subject: filterSubject(broker, route.filters), fromSequence, toSequence: end };
  return replay(parts, request, stretch);
}

async function endOf(jsm: JetStreamManager, stream: string, to: StartPoint | undefined): Promise<number> {
  switch (to?.kind) {
    case "sequence":
      return Math.min(to.sequence, (await sequenceAt(jsm, stream, { kind: "new" })) - 1);
    case "time":
      return (await sequenceAt(jsm, stream, { kind: "time", atMs: to.atMs + 1 })) - 1;
    case "first":
      return sequenceAt(jsm, stream, to);
    case "new":
    case undefined:
      return (await sequenceAt(jsm, stream, { kind: "new" })) - 1;
  }
}

async function* replay(
  parts: ReplayParts,
  request: ReplayRequest,
  stretch: Stretch,
): AsyncGenerator<ReplayStep> {
  const { broker, route, dryRun, signal } = request;
  const wants = compileWanted(route);
  const mark = `replay-${randomUUID()}`;
  const pace = paceOf(parts.clock, request);
  let matched = 0;
  let unreadable = 0;
  for await (const messages of readStretch(parts, eventStream(broker), stretch)) {
    const stored: Promise<unknown>[] = [];
    let last = messages[0]?.seq ?? 0;
    for (const message of messages) {
      const event = read(message);
      if (event === undefined) unreadable++;
      if (event !== undefined && wants(event)) {
        await pace();
        if (signal.aborted) break;
        matched++;
        if (dryRun) yield describe(message, event);
        else stored.push(awaitedLater(store(parts, request, { message, event, mark })));
      }
      last = message.seq;
    }
    await Promise.all(stored);
    if (signal.aborted) break;
    if (!dryRun) {
      yield { kind: "progress", sequence: last, matched };
      await waitForBacklog(parts, request);
    }
  }
  const { fromSequence, toSequence } = stretch;
  yield {
    kind: "end",
    ...(dryRun ? {} : { replay: mark }),
    fromSequence,
    toSequence: Math.max(toSequence, fromSequence - 1),
    matched,
    unreadable,
    stopped: signal.aborted,
  };
}

function describe({ seq, timestamp }: StoredMsg, { attributes: { id, source, type } }: Event): ReplayStep {
  return { kind: "event", sequence: seq, storedAt: rfc3339(Date.parse(timestamp)), id, source, type };
}

function read(message: StoredMsg): Event | undefined {
  try {
    return decodeStored({ headers: message.header, data: message.data });
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}

/** Y3. */
async function waitForBacklog(
  { jsm, clock }: ReplayParts,
  { broker, route, signal }: ReplayRequest,
): Promise<void> {
  while (!signal.aborted) {
    const info = await consumerInfo(jsm, redriveStream(broker), route.uid);
    if ((info?.num_pending ?? 0) + (info?.num_ack_pending ?? 0) < backlogMax) return;
    await clock.sleep(backlogPollMs, signal);
  }
}

/** Y2. */
function store(
  { publisher, isPassedOn }: ReplayParts,
  { broker, route }: ReplayRequest,
  { message, event, mark }: { message: StoredMsg; event: Event; mark: string },
): Promise<unknown> {
  const { headers, payload } = encodeStored(markReplayed(event, mark));
  headers.push(...headersBeside(message.header, isPassedOn));
  headers.push("Nats-Msg-Id", replayMessageId(mark, message.seq));
  return publisher.publish(redriveSubject(broker, route.uid), payload, headers);
}

/** A rejection is looked at when the whole lot is awaited, not before. */
function awaitedLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Resolves when the next event may go. Late ones do not make the following hurry. */
function paceOf(clock: Clock, { perSecond, signal, dryRun }: ReplayRequest): () => Promise<void> {
  if (perSecond === undefined || dryRun) return async () => {};
  let nextMs = clock.monotonic();
  return async () => {
    const waitMs = nextMs - clock.monotonic();
    if (waitMs > 0) await clock.sleep(waitMs, signal);
    nextMs = Math.max(nextMs, clock.monotonic()) + 1000 / perSecond;
  };
}
