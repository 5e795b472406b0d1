/** The rows of the table: what is sent, who wants it. */
import type { Shape } from "./limits.ts";
import type { SinkOptions } from "./sink.ts";

export interface Row {
  readonly part: string;
  readonly name: string;
  /** Trigger manifests for a sink at this URL. */
  readonly triggers: (sinkUrl: string) => string;
  readonly shape?: Shape;
  readonly types?: string[];
  /** Events per second at which latencies are measured. */
  readonly rate: number;
  /** Whether the throughput is measured, too, in a closed loop. */
  readonly isFlatOut: boolean;
  readonly sink?: SinkOptions;
  /** Deliveries that one event causes; 0 measures the ingress alone. */
  readonly deliveriesPerEvent: number;
  /** weft as one process for ingress and control and so many that dispatch; absent: all in one. */
  readonly dispatchers?: number;
  /** The row whose CPU per event this one's is compared with, by name. */
  readonly base?: string;
  /** weft as so many processes that do all (`weft up --workers`). */
  readonly workers?: number;
}

/** Far below what any row can do on a machine of two cores, so that no queue builds up. */
const easyRate = 500;
/** A batch is one request, and percentiles need many of them. */
const batchRate = 1000;

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
const oneOf = (count: number) => `${count} trigger${count === 1 ? "" : "s"}, 1 wants each event`;
const typesOf = (count: number) => Array.from({ length: count }, (_, i) => `${type}.t${i}`);

export const rows: readonly Row[] = [
  ...(["binary", "structured", "batch"] as const).flatMap((mode) =>
    [1024, 16_384].map((size) => ({
      part: "ingress",
      name: `${mode} ${size / 1024} KiB`,
      triggers: none,
      shape: { mode, size },
      rate: mode === "batch" ? batchRate : easyRate,
      isFlatOut: true,
      deliveriesPerEvent: 0,
    })),
  ),
  ...[0, 10, 100].map((delayMs) => ({
    part: "deliver",
    name: `1 trigger, subscriber ${delayMs === 0 ? "instant" : `${delayMs} ms`}`,
    triggers: oneTrigger,
    rate: easyRate,
    isFlatOut: true,
    sink: { delayMs },
    deliveriesPerEvent: 1,
  })),
  {
    part: "fanout",
    name: "1 event → 10 triggers",
    triggers: (sinkUrl) =>
      Array.from({ length: 10 }, (_, i) => trigger(`bench-${i}`, sinkUrl, exact(type))).join(""),
    // Ten times as many go out.
    rate: easyRate / 10,
    isFlatOut: true,
    deliveriesPerEvent: 10,
  },
  ...[1, 100, 1000].map((count) => ({
    part: "triggers",
    name: oneOf(count),
    base: oneOf(1),
    triggers: many(count),
    types: typesOf(count),
    rate: easyRate,
    isFlatOut: true,
    deliveriesPerEvent: 1,
  })),
  {
    part: "cesql",
    name: "1 trigger, CESQL",
    triggers: (sinkUrl) => trigger("bench", sinkUrl, `{cesql: "type = '${type}' AND source LIKE '/be%'"}`),
    rate: easyRate,
    isFlatOut: true,
    deliveriesPerEvent: 1,
  },
  {
    part: "reply",
    name: "1 trigger, every event replied to",
    triggers: oneTrigger,
    rate: easyRate,
    isFlatOut: true,
    sink: { reply: `${type}.reply` },
    deliveriesPerEvent: 1,
  },
  ...[1, 4].map((dispatchers) => ({
    part: "processes",
    name: `1 trigger, ingress + ${dispatchers} dispatcher${dispatchers === 1 ? "" : "s"}`,
    triggers: oneTrigger,
    rate: easyRate,
    isFlatOut: true,
    deliveriesPerEvent: 1,
    dispatchers,
  })),
  ...[1, 2, 4].map((workers) => ({
    part: "workers",
    name: `1 trigger, ${workers} worker${workers === 1 ? "" : "s"}`,
    triggers: oneTrigger,
    rate: easyRate,
    isFlatOut: true,
    deliveriesPerEvent: 1,
    workers,
  })),
  ...[20, 500, 2000].map((rate) => ({
    part: "latency",
    name: `end to end at ${rate}/s`,
    triggers: oneTrigger,
    rate,
    isFlatOut: false,
    deliveriesPerEvent: 1,
  })),
];
