/** A measured row as the numbers that are shown of it, and as a line of the table. */
import { type Better, type Cells, format } from "./figure.ts";
import type { Latency } from "./histogram.ts";
import { type HttpLimit, type Limits, usualShape } from "./limits.ts";
import { latencyOf, type Measured, ofNats, ofWeft, type Phase } from "./measure.ts";
import type { Row } from "./rows.ts";
import { sumOf } from "./usage.ts";

/** What the machine could do in the place of a row. */
export interface RowLimit {
  readonly http: HttpLimit;
  /** Events, or deliveries where there are some. */
  readonly perSecond: number;
  /** CPU time of the least HTTP work that one event and its deliveries need. */
  readonly cpuUs: number;
  readonly latency: Latency;
}

export async function limitOf(row: Row, limits: Limits): Promise<RowLimit> {
  const shape = row.shape ?? usualShape;
  const http = await limits.http(shape);
  if (row.deliveriesPerEvent === 0) {
    const latency = await limits.httpLatency(shape, row.rate);
    return { http, perSecond: http.bare.perSecond, cpuUs: http.bare.cpuUs, latency };
  }
  const push = await limits.push(row.sink?.delayMs ?? 0);
  return {
    http,
    perSecond: push.perSecond,
    cpuUs: http.bare.cpuUs + row.deliveriesPerEvent * push.cpuUs,
    latency: await limits.directLatency(row.rate),
  };
}

/** A percentile of fewer samples than this is the value of one of them. */
const samplesFor = { p50: 1, p99: 100, p999: 1000 };

function percentile(latency: Latency, name: keyof typeof samplesFor): number | undefined {
  return latency.count < samplesFor[name] ? undefined : latency[name];
}

/** In this order. Times of CPU are per accepted event; memory is the most that was ever held. */
const columns = {
  "in/s": "more",
  "out/s": "more",
  "of limit": "more",
  "per core": "more",
  "p50 ms": "less",
  "p99 ms": "less",
  "p99.9 ms": "less",
  "p50/limit": "less",
  "p99/limit": "less",
  "weft µs": "less",
  "nats µs": "less",
  "weft MB": "less",
  "nats MB": "less",
} as const satisfies Record<string, Better>;
type Column = keyof typeof columns;

export function cellsOf(measured: Measured, limit: RowLimit | undefined): Cells {
  const numbers = numbersOf(measured, limit);
  return (Object.keys(columns) as Column[]).map((column) => [column, columns[column], numbers[column]]);
}

/** How much more CPU time of weft an event costs than in the base row. */
export interface Comparison {
  /** At the same rate: what is on top is due to the row. */
  readonly atRate: number | undefined;
  /** Each as fast as it goes: the slower of the two handles fewer events in one turn, which costs more by itself. */
  readonly flatOut: number | undefined;
}

export function comparedTo(base: Measured, { flatOut, atRate }: Measured): Comparison {
  const cpuMsOf = (phase: Phase | undefined) =>
    phase?.processes === undefined ? undefined : sumOf(ofWeft(phase.processes)).cpuMs;
  return {
    atRate: ratio(cpuMsOf(atRate), cpuMsOf(base.atRate)),
    flatOut: ratio(cpuMsOf(flatOut), cpuMsOf(base.flatOut)),
  };
}

function numbersOf(
  { atRate, flatOut }: Measured,
  limit: RowLimit | undefined,
): Readonly<Record<Column, number | undefined>> {
  const latency = latencyOf(atRate);
  const { processes } = flatOut ?? atRate;
  const weft = processes && sumOf(ofWeft(processes));
  const nats = processes && sumOf(ofNats(processes));
  const weftUs = weft && weft.cpuMs * 1000;
  const perSecond = (flatOut?.delivered ?? flatOut?.accepted)?.perSecond;
  const slowdown = (name: keyof typeof samplesFor) =>
    ratio(percentile(latency, name), limit && percentile(limit.latency, name));
  return {
    "in/s": flatOut?.accepted.perSecond,
    "out/s": flatOut?.delivered?.perSecond,
    "of limit": ratio(perSecond, limit?.perSecond),
    "per core": ratio(limit?.cpuUs, weftUs),
    "p50 ms": percentile(latency, "p50"),
    "p99 ms": percentile(latency, "p99"),
    "p99.9 ms": percentile(latency, "p999"),
    "p50/limit": slowdown("p50"),
    "p99/limit": slowdown("p99"),
    "weft µs": weftUs,
    "nats µs": nats && nats.cpuMs * 1000,
    "weft MB": weft?.peakMb,
    "nats MB": nats?.peakMb,
  };
}

function ratio(value: number | undefined, to: number | undefined): number | undefined {
  return value === undefined || to === undefined ? undefined : value / to;
}

const ratios: readonly string[] = ["of limit", "per core", "p50/limit", "p99/limit"] satisfies Column[];
const nameWidth = 34;
const cellWidth = 10;

export function headLine(): string {
  const heads = Object.keys(columns).map((column) => column.padStart(cellWidth));
  return " ".repeat(nameWidth) + heads.join("");
}

export function rowLine(name: string, cells: Cells): string {
  const shown = cells.map(([column, , value]) => {
    if (value === undefined) return "-";
    return ratios.includes(column) ? `${format(value)}×` : format(value);
  });
  return name.padEnd(nameWidth) + shown.map((cell) => cell.padStart(cellWidth)).join("");
}
