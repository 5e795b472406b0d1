/** Measures one row: warms up, then latencies at a fixed rate, then the throughput. */
import { arrived, resetSink, type Sink, startSink } from "./arrival.ts";
import type { Latency } from "./histogram.ts";
import { usualShape } from "./limits.ts";
import type { LoadResult } from "./load.ts";
import { runJson } from "./process.ts";
import type { Row } from "./rows.ts";
import type { SinkCount } from "./sink.ts";
import { knowsFlag, natsRole, poolRole, startWeft, type Target } from "./target.ts";
import { between, type RoleUsage, usageOf } from "./usage.ts";

export interface Measured {
  readonly row: Row;
  readonly atRate: Phase;
  readonly flatOut: Phase | undefined;
}

export interface Phase {
  readonly accepted: LoadResult;
  /** Undefined where nothing is delivered. */
  readonly delivered: SinkCount | undefined;
  /** Deliveries that should have come and did not within the time that is waited for them. */
  readonly missing: number;
  /** Of weft and nats-server; undefined for somebody else's broker. */
  readonly processes: readonly Share[] | undefined;
  /** Of the generator and the sink. */
  readonly helpers: readonly Share[];
}

/** What one process did. */
export interface Share {
  readonly role: string;
  /** Per accepted event. */
  readonly cpuMs: number;
  /** Since it started; 0: not measured. */
  readonly peakMb: number;
  readonly residentMb: number;
}

export interface MeasureOptions {
  /** Of each phase. */
  readonly seconds: number;
  /** A broker to measure instead of weft, and the port its triggers point at. */
  readonly foreign: { readonly target: Target; readonly sinkPort: number } | undefined;
}

const warmUpSeconds = 1;
const connections = 64;

/** Why the row cannot be measured; undefined when it can. */
export async function obstacle(
  { workers, dispatchers }: Row,
  isForeign: boolean,
): Promise<string | undefined> {
  if (isForeign && (workers ?? dispatchers) !== undefined) return "only weft has these processes";
  if (workers !== undefined && !(await knowsFlag("--workers"))) return "this weft has no --workers";
  return undefined;
}

export async function measure(row: Row, { seconds, foreign }: MeasureOptions): Promise<Measured> {
  const sink = await startSink({ ...row.sink, port: foreign?.sinkPort ?? 0 });
  try {
    const target = foreign?.target ?? (await startWeft(setupOf(row)));
    try {
      if (row.deliveriesPerEvent > 0) await target.apply(row.triggers(sink.url));
      const load = { ...(row.shape ?? usualShape), url: target.url, connections, types: row.types };
      // Compilation and growing buffers are not counted; a fixed rate would not get far with them.
      await runJson<LoadResult>("./load.ts", { ...load, seconds: warmUpSeconds });
      await arrived(sink.url, Number.POSITIVE_INFINITY);
      const phase = (how: { rate?: number }) =>
        measurePhase({ ...load, ...how, seconds }, { target, sink, row });
      const atRate = await phase({ rate: row.rate });
      return { row, atRate, flatOut: row.isFlatOut ? await phase({}) : undefined };
    } finally {
      if (foreign === undefined) await target.stop();
    }
  } finally {
    await sink.process.stop();
  }
}

function setupOf({ dispatchers, workers }: Row): Parameters<typeof startWeft>[0] {
  return { dispatchers, flags: workers === undefined ? [] : ["--workers", String(workers)] };
}

interface Stage {
  readonly target: Target;
  readonly sink: Sink;
  readonly row: Row;
}

async function measurePhase(load: unknown, { target, sink, row }: Stage): Promise<Phase> {
  await resetSink(sink.url);
  const usage = () => ({ target: target.usage(), sink: [sinkUsage(sink)] });
  const before = usage();
  const accepted = await runJson<LoadResult>("./load.ts", load);
  const expected = accepted.events * row.deliveriesPerEvent;
  const delivered = row.deliveriesPerEvent === 0 ? undefined : await arrived(sink.url, expected);
  const after = usage();
  const shares = (earlier: readonly RoleUsage[], later: readonly RoleUsage[]): Share[] =>
    between(earlier, later).map(({ role, cpuMs, peakMb, residentMb }) => ({
      role,
      cpuMs: cpuMs / accepted.events,
      peakMb,
      residentMb,
    }));
  const generatorMs = (accepted.cpuUs * accepted.latency.count) / 1000 / accepted.events;
  return {
    accepted,
    delivered,
    missing: Math.max(0, expected - (delivered?.events ?? expected)),
    processes: before.target && after.target && shares(before.target, after.target),
    helpers: [
      { role: "generator", cpuMs: generatorMs, peakMb: accepted.peakMb, residentMb: accepted.peakMb },
      ...shares(before.sink, after.sink),
    ],
  };
}

function sinkUsage({ process }: Sink): RoleUsage {
  return { role: "sink", pid: process.pid, ...usageOf(process.pid) };
}

/** Those that are weft itself: not its NATS server, and not processes that wait to become functions. */
export function ofWeft(processes: readonly Share[]): Share[] {
  return processes.filter(({ role }) => role !== natsRole && role !== poolRole);
}

export function ofNats(processes: readonly Share[]): Share[] {
  return processes.filter(({ role }) => role === natsRole);
}

/** Of what is measured: the way to the subscriber, or to the 202 where there is none. */
export function latencyOf({ delivered, accepted }: Phase): Latency {
  return (delivered ?? accepted).latency;
}
