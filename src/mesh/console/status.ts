/** What `/weft/v1/status` says (DESIGN §10): put together from what each part knows. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import type { Counters } from "../journal/counters.ts";
import type { BrokerRoute } from "../routes/route.ts";
import { consumerInfo } from "../stream/consumer.ts";
import { countDelayed } from "../stream/delayed.ts";
import { ignoring } from "../stream/stream.ts";
import { eventStream, redriveStream } from "../stream/subjects.ts";
import type { PeerReport } from "./peers.ts";

/** A document or function that was refused; the rest of the mesh works on. */
export interface Rejected {
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  readonly name: string;
  readonly message: string;
}

export interface TriggerCondition {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly broker: string;
  readonly ready: boolean;
  readonly reason: string;
}

export interface FunctionSummary {
  readonly namespace: string;
  readonly name: string;
  readonly instances: readonly { readonly pid: number; readonly state: string }[];
}

/** One of the processes that share ingress and dispatch, the first of them this one. */
export interface WorkerSummary {
  readonly pid: number;
  readonly ready: boolean;
  /** Connections to the events port: those it was given, or, of the first, kept since there were workers. */
  readonly connections: number;
}

export interface StatusParts {
  readonly clock: Clock;
  readonly version: string;
  readonly pid: number;
  readonly ready: () => boolean;
  readonly nats: () => { url: string; version: string; pid: number | null; owned: boolean };
  readonly brokers: () => readonly BrokerRoute[];
  readonly triggers: () => readonly TriggerCondition[];
  readonly inFlight: (uid: string) => number;
  readonly functions: () => readonly FunctionSummary[];
  /** What all processes of the mesh say, this one among them; none when this process is the whole mesh. */
  readonly peers: () => Promise<readonly PeerReport[]>;
  /** None when this process is alone. */
  readonly workers: () => readonly WorkerSummary[];
  readonly rejected: () => readonly Rejected[];
  /** undefined while NATS is not connected. */
  readonly jsm: () => JetStreamManager | undefined;
  readonly counters: () => Counters | undefined;
}

const streamNotFound = 10059;
const triggerCounters = ["delivered", "filtered", "retried", "dead"] as const;

/** What NATS knows, by uid of the broker or trigger. */
interface Figures {
  readonly brokers: ReadonlyMap<
    string,
    { events: number; bytes: number; delayed: number; unmatched: number }
  >;
  readonly triggers: ReadonlyMap<string, { owed: number } & Record<(typeof triggerCounters)[number], number>>;
}

/** NATS that does not answer must not keep the rest of the status from whoever looks for the reason. */
const figuresWaitMs = 1500;

export class StatusReader {
  readonly #parts: StatusParts;
  #last: Figures = { brokers: new Map(), triggers: new Map() };

  constructor(parts: StatusParts) {
    this.#parts = parts;
  }

  /** Figures of NATS are the last known while it does not answer; `stale` says so. */
  async read(): Promise<Record<string, unknown>> {
    const { version, pid, ready, nats, functions, rejected, brokers, triggers, inFlight } = this.#parts;
    const workers = this.#parts.workers();
    const listed = { brokers: brokers(), triggers: triggers() };
    const [found, peers] = await Promise.all([this.#figures(listed), this.#parts.peers()]);
    const figures = found ?? this.#last;
    this.#last = figures;
    return {
      version,
      pid,
      ready: ready(),
      stale: found === undefined,
      nats: nats(),
      brokers: listed.brokers.map(({ namespace, name, uid }) => ({
        namespace,
        name,
        ...(figures.brokers.get(uid) ?? { events: 0, bytes: 0, delayed: 0, unmatched: 0 }),
      })),
      triggers: listed.triggers.map((trigger) => {
        const { owed, ...counted } = figures.triggers.get(trigger.uid) ?? nothingCounted;
        const running = peers.length === 0 ? inFlight(trigger.uid) : inFlightOf(trigger.uid, peers);
        return {
          namespace: trigger.namespace,
          name: trigger.name,
          ready: trigger.ready,
          reason: trigger.reason,
          pending: Math.max(0, owed - running),
          inFlight: running,
          ...counted,
        };
      }),
      functions: peers.length === 0 ? functions() : functionsOf(peers),
      rejected: rejected(),
      ...(workers.length === 0 ? {} : { workers }),
      ...(peers.length === 0 ? {} : { processes: peers.map(toProcess) }),
    };
  }

  /** undefined when NATS does not answer in time. */
  async #figures(listed: Listed): Promise<Figures | undefined> {
    const waiting = new AbortController();
    const late = this.#parts.clock.sleep(figuresWaitMs, waiting.signal).then(() => undefined);
    const found = await Promise.race([readFigures(this.#parts, listed).catch(() => undefined), late]);
    waiting.abort();
    return found;
  }
}

function inFlightOf(uid: string, peers: readonly PeerReport[]): number {
  return peers.reduce((sum, { inFlight }) => sum + (inFlight[uid] ?? 0), 0);
}

/** One entry per function, with the instances of all machines. */
function functionsOf(peers: readonly PeerReport[]): FunctionSummary[] {
  const all = Map.groupBy(
    peers.flatMap(({ functions }) => functions),
    ({ namespace, name }) => `${namespace}/${name}`,
  );
  return [...all.values()].flatMap((each) => {
    const [first] = each;
    if (first === undefined) return [];
    return { ...first, instances: each.flatMap(({ instances }) => instances) };
  });
}

function toProcess({ host, pid, roles, leads, ready }: PeerReport) {
  return { host, pid, roles, leads, ready };
}

interface Listed {
  readonly brokers: readonly BrokerRoute[];
  readonly triggers: readonly TriggerCondition[];
}

const nothingCounted = { owed: 0, delivered: 0, filtered: 0, retried: 0, dead: 0 };

/** undefined while there is no connection. */
async function readFigures(parts: StatusParts, { brokers, triggers }: Listed): Promise<Figures | undefined> {
  const jsm = parts.jsm();
  const counters = parts.counters();
  if (jsm === undefined || counters === undefined) return undefined;
  const [brokerTotals, triggerTotals, streams, delayed, owed] = await Promise.all([
    counters.read(
      brokers.map(({ uid }) => uid),
      ["unmatched"],
    ),
    counters.read(
      triggers.map(({ uid }) => uid),
      triggerCounters,
    ),
    Promise.all(brokers.map((broker) => streamSize(jsm, broker))),
    Promise.all(brokers.map((broker) => countDelayed(jsm, broker))),
    Promise.all(triggers.map((trigger) => backlog(jsm, trigger))),
  ]);
  return {
    brokers: new Map(
      brokers.map(({ uid }, i) => [
        uid,
        {
          events: streams[i]?.events ?? 0,
          bytes: streams[i]?.bytes ?? 0,
          unmatched: brokerTotals.of(uid, "unmatched"),
          delayed: delayed[i] ?? 0,
        },
      ]),
    ),
    triggers: new Map(
      triggers.map(({ uid }, i) => [
        uid,
        {
          owed: owed[i] ?? 0,
          delivered: triggerTotals.of(uid, "delivered"),
          filtered: triggerTotals.of(uid, "filtered"),
          retried: triggerTotals.of(uid, "retried"),
          dead: triggerTotals.of(uid, "dead"),
        },
      ]),
    ),
  };
}

async function streamSize(
  jsm: JetStreamManager,
  broker: BrokerRoute,
): Promise<{ events: number; bytes: number } | undefined> {
  const info = await jsm.streams.info(eventStream(broker)).catch(ignoring(streamNotFound));
  return info === undefined ? undefined : { events: info.state.messages, bytes: info.state.bytes };
}

/** Everything the trigger still owes an outcome: not yet delivered, in flight, or backing off. */
async function backlog(jsm: JetStreamManager, { namespace, broker, uid }: TriggerCondition): Promise<number> {
  const key = { namespace, name: broker };
  const infos = await Promise.all([
    consumerInfo(jsm, eventStream(key), uid),
    consumerInfo(jsm, redriveStream(key), uid),
  ]);
  return infos.reduce((sum, info) => sum + (info?.num_pending ?? 0) + (info?.num_ack_pending ?? 0), 0);
}
