/** What a reader of a row must know besides its numbers. */
import { format } from "./figure.ts";
import { type Measured, ofWeft, type Phase } from "./measure.ts";
import type { RowLimit } from "./table.ts";

/** A generator that could do less than this times what it measures might be what is measured. */
const generatorReserve = 3;
/** Of a fixed rate; less was not a measurement at that rate. */
const rateShare = 0.95;

/** Doubts about the row. */
export function doubts({ row, atRate, flatOut }: Measured, limit: RowLimit | undefined): string[] {
  const found: string[] = [];
  const perSecond = flatOut?.accepted.perSecond;
  const ceiling = limit && 1e6 / limit.http.generator.cpuUs;
  if (perSecond !== undefined && ceiling !== undefined && ceiling < generatorReserve * perSecond) {
    found.push(
      `a core of the generator can do only ${format(ceiling / perSecond)}× this, not ${generatorReserve}×`,
    );
  }
  if (atRate.accepted.perSecond < rateShare * row.rate) {
    found.push(`only ${atRate.accepted.perSecond} of ${row.rate} per second were accepted`);
  }
  for (const phase of [atRate, flatOut]) if (phase !== undefined) found.push(...losses(phase));
  return found;
}

function losses({ accepted, missing }: Phase): string[] {
  return [
    ...(accepted.refused > 0 ? [`refused: ${accepted.refused}, ${JSON.stringify(accepted.statuses)}`] : []),
    ...(missing > 0 ? [`${missing} deliveries were still missing after a minute`] : []),
  ];
}

/** Details that have no column. */
export function details({ row, atRate, flatOut }: Measured, limit: RowLimit | undefined): string[] {
  const found: string[] = [];
  const weft = ofWeft((flatOut ?? atRate).processes ?? []);
  if (weft.length > 1) {
    found.push(
      weft.map(({ role, cpuMs, peakMb }) => `${role} ${format(cpuMs * 1000)} µs ${peakMb} MB`).join("; "),
    );
  }
  if (flatOut === undefined && limit !== undefined) {
    const { p50, p99 } = limit.latency;
    const { lateness } = atRate.accepted;
    found.push(
      `without a broker at ${row.rate}/s p50 ${p50} ms, p99 ${p99} ms; ` +
        `requests were sent late by p50 ${lateness.p50} ms, p99 ${lateness.p99} ms`,
    );
  }
  return found;
}
