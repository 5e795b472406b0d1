/**
 * `npm run bench`: measures weft, and the limits of the machine beside it, in one run.
 *
 *     npm run bench -- ingress deliver --seconds 5 --rounds 3 --json results.json
 *     npm run bench -- deliver --target http://127.0.0.1:9090/default/default --sink-port 9000
 */
import { writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { Figure } from "./figure.ts";
import type { Latency } from "./histogram.ts";
import { type Ceiling, Ceilings, measureStoreAndPush } from "./limits.ts";
import { runShown } from "./process.ts";
import { figuresOf, type Measured, measure, type Row, rows } from "./rows.ts";
import { foreignTarget } from "./target.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "1" },
    target: { type: "string" },
    "sink-port": { type: "string" },
    json: { type: "string" },
    /** Only the rows: no limits, no ratios to them. */
    "no-limits": { type: "boolean", default: false },
  },
});

/** Parts with tables of their own; they measure weft alone. */
const ownTables = ["codec", "filter", "request", "cold", "idle"];
/** What one trigger for all events can be measured by. */
const foreignParts = ["ingress", "deliver", "latency"];
/** A generator that could do less than this times what it measures might be what is measured. */
const generatorReserve = 3;
/** A percentile of fewer samples than this is the value of one of them. */
const samplesFor = { p50: 1, p99: 100, p999: 1000 };

const say = (text: string) => process.stdout.write(`${text}\n`);
const [load1 = 0] = loadavg();
const seconds = Number(values.seconds);
const ceilingSeconds = Math.min(seconds, 2);
const known = new Set([...ownTables, ...rows.map(({ part }) => part)]);
const unknown = positionals.filter((part) => !known.has(part));
if (unknown.length > 0) {
  process.stderr.write(`bench: no part ${unknown.join(", ")}; there are ${[...known].join(", ")}\n`);
  process.exit(2);
}
if ((values.target === undefined) !== (values["sink-port"] === undefined)) {
  process.stderr.write("bench: --target and --sink-port belong together: its triggers point at that port\n");
  process.exit(2);
}
const foreign =
  values.target === undefined
    ? undefined
    : { target: foreignTarget(values.target), sinkPort: Number(values["sink-port"]) };
const parts = positionals.length > 0 ? positionals : foreign === undefined ? [...known] : foreignParts;
const chosen = rows.filter(({ part }) => parts.includes(part));
const figures: Figure[] = [];

say(`load average of the machine before the run: ${load1.toFixed(2)}`);
if (foreign === undefined) {
  for (const part of ownTables) if (parts.includes(part)) figures.push(...(await runShown(`./${part}.ts`)));
}
const results = chosen.length > 0 ? await measureRows(chosen) : {};
if (values.json !== undefined) {
  const all = { at: new Date().toISOString(), load1, ...results, figures };
  await writeFile(values.json, `${JSON.stringify(all, null, 2)}\n`);
}
process.exit(0);

async function measureRows(wanted: readonly Row[]) {
  const ceilings = values["no-limits"] ? undefined : new Ceilings(ceilingSeconds);
  const limits = ceilings && (await limitsNow(ceilings));
  if (limits !== undefined) say(`\nlimits of this machine, per second at 1 KiB: ${format(limits)}`);
  say(
    `\n${line(["", "in/s", "out/s", "of limit", "p50 ms", "p99 ms", "p99.9 ms", "weft µs", "nats µs", "peak MB"])}`,
  );
  const measurements: (Measured & { ceiling: Ceiling | undefined })[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const row of wanted) {
      const ceiling = await ceilings?.of(row.load);
      const measured = await measure(row, { seconds, foreign });
      const limit = measured.delivered === undefined ? ceiling?.bareHttp : limits?.barePush;
      measurements.push({ ...measured, ceiling });
      figures.push(...figuresOf(measured));
      say(toLine(measured, limit));
      for (const remark of remarksOn(measured, ceiling)) say(`  ! ${remark}`);
    }
  }
  // What they differ by is what the machine's other work does to every number above.
  const limitsAfter = limits && (await limitsNow(new Ceilings(ceilingSeconds)));
  if (limitsAfter !== undefined) say(`\nthe same limits after the rows: ${format(limitsAfter)}`);
  return { limits, limitsAfter, results: measurements };
}

type Limits = Ceiling & Awaited<ReturnType<typeof measureStoreAndPush>>;

async function limitsNow(ceilings: Ceilings): Promise<Limits> {
  return { ...(await ceilings.of({})), ...(await measureStoreAndPush(ceilingSeconds)) };
}

function format({ generator, bareHttp, jetStream, barePush }: Limits): string {
  return `generator ${generator}, bare HTTP 202 ${bareHttp}, JetStream publish ${jetStream}, bare push ${barePush}`;
}

function toLine({ name, load, accepted, delivered, cpuMs, peakMb }: Measured, limit?: number): string {
  const { latency, perSecond } = delivered ?? accepted;
  return line([
    name,
    accepted.perSecond,
    delivered?.perSecond ?? "-",
    // At a fixed rate the rate says nothing.
    limit === undefined || load.rate !== undefined ? "-" : `${(perSecond / limit).toFixed(2)}×`,
    percentile(latency, "p50"),
    percentile(latency, "p99"),
    percentile(latency, "p999"),
    cpuMs === undefined ? "-" : (cpuMs.weft * 1000).toFixed(0),
    cpuMs === undefined ? "-" : (cpuMs.nats * 1000).toFixed(0),
    peakMb ?? "-",
  ]);
}

function percentile(latency: Latency, name: keyof typeof samplesFor): string {
  return latency.count < samplesFor[name] ? "-" : latency[name].toFixed(2);
}

/** What a reader of the row must know. */
function remarksOn({ load, accepted, missing }: Measured, ceiling: Ceiling | undefined): string[] {
  const remarks: string[] = [];
  const reserve = ceiling && ceiling.generator / accepted.perSecond;
  if (load.rate === undefined && reserve !== undefined && reserve < generatorReserve) {
    remarks.push(`the generator alone does only ${reserve.toFixed(2)}× this, not ${generatorReserve}×`);
  }
  if (accepted.refused > 0)
    remarks.push(`refused: ${accepted.refused}, ${JSON.stringify(accepted.statuses)}`);
  if (missing > 0) remarks.push(`${missing} deliveries were still missing after a minute`);
  if (load.rate !== undefined && accepted.perSecond < 0.95 * load.rate) {
    remarks.push(`only ${accepted.perSecond} of ${load.rate} per second were accepted`);
  }
  return remarks;
}

function line(cells: readonly (string | number)[]): string {
  const widths = [38, 8, 8, 9, 9, 9, 9, 8, 8, 8];
  return cells
    .map((cell, i) => (i === 0 ? String(cell).padEnd(38) : String(cell).padStart(widths[i] ?? 8)))
    .join(" ")
    .trimEnd();
}
