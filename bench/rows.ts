/** The rows of the table: what is sent, who wants it, what is read off. */
import type { Figure } from "./figure.ts";
import type { LoadOptions, LoadResult } from "./load.ts";
import { firstJson, runJson, type Started, startNode } from "./process.ts";
import type { SinkCount } from "./sink.ts";
import { startWeft, type Target } from "./target.ts";

export interface Row {
  readonly part: string;
  readonly name: string;
  /** Trigger manifests for a sink at this URL. */
  readonly triggers: (sinkUrl: string) => string;
  readonly load: Omit<LoadOptions, "url" | "seconds">;
  readonly sink?: { delayMs?: number; reply?: string };
  /** Deliveries that one event causes; 0 measures the ingress alone. */
  readonly deliveriesPerEvent: number;
  /** weft as one process for ingress and control and so many that dispatch; absent: all in one. */
  readonly dispatchers?: number;
}

export interface Measured {
  readonly part: string;
  readonly name: string;
  readonly load: Row["load"];
  readonly accepted: LoadResult;
  readonly delivered: SinkCount | undefined;
  /** Deliveries that should have come and did not within the time that is waited for them. */
  readonly missing: number;
  /** Per accepted event. */
  readonly cpuMs: { readonly weft: number; readonly nats: number } | undefined;
  readonly peakMb: number | undefined;
}

const type = "com.example.bench";

function trigger(name: string, sinkUrl: string, filter: string): string {
  return `---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ${name}}
spec:
  broker: default
  filters: [${filter}]
  subscriber: {uri: "${sinkUrl}"}
`;
}

const exact = (wanted: string) => `{exact: {type: ${wanted}}}`;
const none = () => "";
/** Wants every event of the default load. */
export const oneTrigger = (sinkUrl: string) => trigger("bench", sinkUrl, exact(type));
const many = (count: number) => (sinkUrl: string) =>
  Array.from({ length: count }, (_, i) => trigger(`bench-${i}`, sinkUrl, exact(`${type}.t${i}`))).join("");
const typesOf = (count: number) => Array.from({ length: count }, (_, i) => `${type}.t${i}`);

export const rows: readonly Row[] = [
  ...(["binary", "structured", "batch"] as const).flatMap((mode) =>
    [1024, 16_384].map((size) => ({
      part: "ingress",
      name: `${mode} ${size / 1024} KiB`,
      triggers: none,
      load: { mode, size, connections: 64 },
      deliveriesPerEvent: 0,
    })),
  ),
  ...[0, 10, 100].map((delayMs) => ({
    part: "deliver",
    name: `1 trigger, subscriber ${delayMs === 0 ? "instant" : `${delayMs} ms`}`,
    triggers: oneTrigger,
    load: { connections: 64 },
    sink: { delayMs },
    deliveriesPerEvent: 1,
  })),
  {
    part: "fanout",
    name: "1 event → 10 triggers",
    triggers: (sinkUrl) =>
      Array.from({ length: 10 }, (_, i) => trigger(`bench-${i}`, sinkUrl, exact(type))).join(""),
    load: { connections: 64 },
    deliveriesPerEvent: 10,
  },
  ...[100, 1000].map((count) => ({
    part: "triggers",
    name: `${count} triggers, 1 wants each event`,
    triggers: many(count),
    load: { connections: 64, types: typesOf(count) },
    deliveriesPerEvent: 1,
  })),
  {
    part: "cesql",
    name: "1 trigger, CESQL",
    triggers: (sinkUrl) => trigger("bench", sinkUrl, `{cesql: "type = '${type}' AND source LIKE '/be%'"}`),
    load: { connections: 64 },
    deliveriesPerEvent: 1,
  },
  {
    part: "reply",
    name: "1 trigger, every event replied to",
    triggers: oneTrigger,
    load: { connections: 64 },
    sink: { reply: `${type}.reply` },
    deliveriesPerEvent: 1,
  },
  ...[1, 4].map((dispatchers) => ({
    part: "processes",
    name: `1 trigger, ingress + ${dispatchers} dispatcher${dispatchers === 1 ? "" : "s"}`,
    triggers: oneTrigger,
    load: { connections: 64 },
    deliveriesPerEvent: 1,
    dispatchers,
  })),
  ...[20, 500].map((rate) => ({
    part: "latency",
    name: `end to end at ${rate}/s`,
    triggers: oneTrigger,
    load: { connections: 8, rate },
    deliveriesPerEvent: 1,
  })),
];

export async function startSink(
  options: Record<string, unknown>,
): Promise<{ url: string; process: Started }> {
  const process_ = startNode("./sink.ts", [JSON.stringify(options)]);
  const { port } = await firstJson<{ port: number }>(process_);
  return { url: `http://127.0.0.1:${port}/`, process: process_ };
}

export interface MeasureOptions {
  readonly seconds: number;
  /** A broker to measure instead of weft, and the port its triggers point at. */
  readonly foreign: { readonly target: Target; readonly sinkPort: number } | undefined;
}

/** How long deliveries may trail behind the last accepted event. */
const trailMs = 60_000;
const warmUpSeconds = 1;

export async function measure(row: Row, { seconds, foreign }: MeasureOptions): Promise<Measured> {
  const sink = await startSink({ ...row.sink, port: foreign?.sinkPort ?? 0 });
  const target = foreign?.target ?? (await startWeft({ dispatchers: row.dispatchers }));
  try {
    if (row.deliveriesPerEvent > 0) await target.apply(row.triggers(sink.url));
    // Compilation and growing buffers are not counted; a fixed rate would not get far with them.
    const { rate: _rate, ...warmUp } = row.load;
    await runJson("./load.ts", { ...warmUp, url: target.url, seconds: warmUpSeconds });
    await arrived(sink.url, Number.POSITIVE_INFINITY);
    await fetch(`${sink.url}reset`);
    const before = target.usage();
    const accepted = await runJson<LoadResult>("./load.ts", { ...row.load, url: target.url, seconds });
    const expected = accepted.events * row.deliveriesPerEvent;
    const delivered = row.deliveriesPerEvent === 0 ? undefined : await arrived(sink.url, expected);
    const after = target.usage();
    return {
      part: row.part,
      name: row.name,
      load: row.load,
      accepted,
      delivered,
      missing: Math.max(0, expected - (delivered?.events ?? expected)),
      cpuMs: before &&
        after && {
          weft: (after.weft.cpuMs - before.weft.cpuMs) / accepted.events,
          nats: (after.nats.cpuMs - before.nats.cpuMs) / accepted.events,
        },
      peakMb: after?.weft.peakMb,
    };
  } finally {
    if (foreign === undefined) await target.stop();
    await sink.process.stop();
  }
}

/** The numbers of a row that two runs can be compared by. */
export function figuresOf({ part, name, load, accepted, delivered, cpuMs, peakMb }: Measured): Figure[] {
  const { p50 } = (delivered ?? accepted).latency;
  const { perSecond } = delivered ?? accepted;
  return [
    ...(load.rate === undefined ? [{ part, name, unit: "per second", value: perSecond } as const] : []),
    // In a closed loop with a backlog, latency is the length of the backlog.
    ...(load.rate === undefined ? [] : [{ part, name, unit: "ms", value: p50 } as const]),
    ...(cpuMs === undefined ? [] : [{ part, name, unit: "µs of CPU", value: cpuMs.weft * 1000 } as const]),
    ...(peakMb === undefined ? [] : [{ part, name, unit: "MB", value: peakMb } as const]),
  ];
}

/** What the sink counted once everything expected is there, or nothing more comes for a while. */
export async function arrived(sinkUrl: string, expected: number): Promise<SinkCount> {
  const end = Date.now() + trailMs;
  let last = -1;
  for (;;) {
    const count = (await (await fetch(sinkUrl)).json()) as SinkCount;
    if (count.events >= expected || Date.now() > end) return count;
    if (expected === Number.POSITIVE_INFINITY && count.events === last) return count;
    last = count.events;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
