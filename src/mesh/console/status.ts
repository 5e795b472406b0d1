/** What `/weft/v1/status` says (DESIGN §10): put together from what each part knows. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Counters } from "../journal/counters.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import { consumerInfo } from "../stream/consumer.ts";
import { ignoring } from "../stream/stream.ts";
import { eventStream, redriveStream } from "../stream/subjects.ts";

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

export interface StatusParts {
  readonly version: string;
  readonly pid: number;
  readonly ready: () => boolean;
  readonly nats: () => { url: string; version: string; pid: number | null; owned: boolean };
  readonly brokers: () => readonly BrokerRoute[];
  readonly triggers: () => readonly TriggerCondition[];
  readonly route: (uid: string) => TriggerRoute | undefined;
  readonly inFlight: (uid: string) => number;
  readonly functions: () => readonly FunctionSummary[];
  readonly rejected: () => readonly Rejected[];
  readonly jsm: () => JetStreamManager | undefined;
  readonly counters: () => Counters | undefined;
}

const streamNotFound = 10059;
const triggerCounters = ["delivered", "filtered", "retried", "dead"] as const;

export async function describeStatus(parts: StatusParts): Promise<Record<string, unknown>> {
  const jsm = parts.jsm();
  const counters = parts.counters();
  const brokers = parts.brokers();
  const triggers = parts.triggers();
  const [brokerTotals, triggerTotals, streams, backlogs] = await Promise.all([
    counters?.read(
      brokers.map(({ uid }) => uid),
      ["unmatched"],
    ),
    counters?.read(
      triggers.map(({ uid }) => uid),
      triggerCounters,
    ),
    Promise.all(brokers.map((broker) => streamSize(jsm, broker))),
    Promise.all(triggers.map((trigger) => backlog(jsm, trigger))),
  ]);
  return {
    version: parts.version,
    pid: parts.pid,
    ready: parts.ready(),
    nats: parts.nats(),
    brokers: brokers.map(({ namespace, name, uid }, i) => ({
      namespace,
      name,
      events: streams[i]?.events ?? 0,
      bytes: streams[i]?.bytes ?? 0,
      unmatched: brokerTotals?.of(uid, "unmatched") ?? 0,
    })),
    triggers: triggers.map(({ namespace, name, uid, ready, reason }, i) => {
      const inFlight = parts.inFlight(uid);
      return {
        namespace,
        name,
        ready,
        reason,
        pending: Math.max(0, (backlogs[i] ?? 0) - inFlight),
        inFlight,
        ...Object.fromEntries(triggerCounters.map((name) => [name, triggerTotals?.of(uid, name) ?? 0])),
      };
    }),
    functions: parts.functions(),
    rejected: parts.rejected(),
  };
}

async function streamSize(
  jsm: JetStreamManager | undefined,
  broker: BrokerRoute,
): Promise<{ events: number; bytes: number } | undefined> {
  const info = await jsm?.streams.info(eventStream(broker)).catch(ignoring(streamNotFound));
  return info === undefined ? undefined : { events: info.state.messages, bytes: info.state.bytes };
}

/** Everything the trigger still owes an outcome: not yet delivered, in flight, or backing off. */
async function backlog(
  jsm: JetStreamManager | undefined,
  { namespace, broker, uid }: TriggerCondition,
): Promise<number> {
  if (jsm === undefined) return 0;
  const key = { namespace, name: broker };
  const infos = await Promise.all([
    consumerInfo(jsm, eventStream(key), uid),
    consumerInfo(jsm, redriveStream(key), uid),
  ]);
  return infos.reduce((sum, info) => sum + (info?.num_pending ?? 0) + (info?.num_ack_pending ?? 0), 0);
}
