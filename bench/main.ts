/**
 * `npm run bench`: measures weft, and the limits of the machine beside it, in one run.
 *
 *     npm run bench -- ingress deliver --seconds 5 --rounds 3 --json results.json
 *     npm run bench -- deliver --target http://127.0.0.1:9090/default/default --sink-port 9000
 */
import { writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { type Figure, figuresOf, format } from "./figure.ts";
import { type HttpLimit, Limits, usualShape } from "./limits.ts";
import { type Measured, type MeasureOptions, measure, obstacle } from "./measure.ts";
import { runShown } from "./process.ts";
import { details, doubts } from "./remarks.ts";
import { type Row, rows } from "./rows.ts";
import { summarise, summaryText } from "./summary.ts";
import { cellsOf, comparedTo, headLine, limitOf, type RowLimit, rowLine } from "./table.ts";
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

/** Parts with tables of their own, which measure weft alone; with their arguments. */
const ownTables: Readonly<Record<string, readonly string[]>> = {
  codec: [],
  filter: [],
  request: [values.seconds],
  cold: [],
  idle: [],
};
/** What one trigger for all events can be measured by. */
const foreignParts = ["ingress", "deliver", "latency"];
/** No limit of throughput is measured longer. */
const limitSecondsMax = 2;

const say = (text: string) => process.stdout.write(`${text}\n`);
const [load1 = 0] = loadavg();
const seconds = Number(values.seconds);
const known = new Set([...Object.keys(ownTables), ...rows.map(({ part }) => part)]);
const unknown = positionals.filter((part) => !known.has(part));
if (unknown.length > 0) {
  process.stderr.write(`bench: no part ${unknown.join(", ")}; there are ${[...known].join(", ")}\n`);
  process.exit(2);
}
if ((values.target === undefined) !== (values["sink-port"] === undefined)) {
  process.stderr.write("bench: --target and --sink-port belong together: its triggers point at that port\n");
  process.exit(2);
}
const foreign: MeasureOptions["foreign"] =
  values.target === undefined
    ? undefined
    : { target: foreignTarget(values.target), sinkPort: Number(values["sink-port"]) };
const parts = positionals.length > 0 ? positionals : foreign === undefined ? [...known] : foreignParts;
const chosen = rows.filter(({ part }) => parts.includes(part));

/** All that was measured of one row, with the limit it stands beside. */
type Result = Measured & { readonly round: number; readonly limit: RowLimit | undefined };

const figures: Figure[] = [];
const results: Result[] = [];
const limits: BaseLimits[] = [];
const rounds = Number(values.rounds);

say(`load average of the machine before the run: ${load1.toFixed(2)}`);
for (let round = 1; round <= rounds; round++) {
  if (rounds > 1) say(`\nround ${round} of ${rounds}`);
  if (foreign === undefined) {
    for (const [part, args] of Object.entries(ownTables)) {
      if (parts.includes(part)) figures.push(...(await runShown(`./${part}.ts`, args)));
    }
  }
  if (chosen.length > 0) await measureRows(chosen, round);
}
const medians = summarise(figures);
if (rounds > 1) say(`\nmedians of ${rounds} rounds, and how far apart these were\n\n${summaryText(medians)}`);
if (values.json !== undefined) {
  const all = { at: new Date().toISOString(), load1, seconds, rounds, limits, results, figures, medians };
  await writeFile(values.json, `${JSON.stringify(all, null, 2)}\n`);
}
process.exit(0);

async function measureRows(wanted: readonly Row[], round: number): Promise<void> {
  const measurable = values["no-limits"] ? undefined : newLimits();
  if (measurable !== undefined) await sayLimits({ round, when: "before the rows" }, measurable);
  say(`\n${headLine()}`);
  for (const row of wanted) {
    const why = await obstacle(row, foreign !== undefined);
    if (why !== undefined) {
      say(`${row.name}: left out, ${why}`);
      continue;
    }
    const limit = measurable && (await limitOf(row, measurable));
    const measured = await measure(row, { seconds, foreign });
    const cells = cellsOf(measured, limit);
    results.push({ ...measured, round, limit });
    figures.push(...figuresOf(row, cells));
    say(rowLine(row.name, cells));
    sayComparison(measured);
    for (const detail of details(measured, limit)) say(`  = ${detail}`);
    for (const doubt of doubts(measured, limit)) say(`  ! ${doubt}`);
  }
  // What they differ by is what the machine's other work does to every number above.
  if (measurable !== undefined) await sayLimits({ round, when: "after the rows" }, newLimits());
}

/** With the base of the row, measured last. */
function sayComparison(measured: Measured): void {
  const { row } = measured;
  const base = results.findLast(({ row: { name } }) => name === row.base);
  if (base === undefined || base.row === row) return;
  const { atRate, flatOut } = comparedTo(base, measured);
  if (atRate === undefined) return;
  figures.push(...figuresOf(row, [["µs/base", "less", atRate]]));
  const each = flatOut === undefined ? "" : `; each flat out ${format(flatOut)}×`;
  say(`  = CPU of weft per event at ${row.rate}/s ${format(atRate)}× that of: ${row.base}${each}`);
}

function newLimits(): Limits {
  return new Limits({ seconds: Math.min(seconds, limitSecondsMax), latencySeconds: seconds });
}

interface Moment {
  readonly round: number;
  readonly when: "before the rows" | "after the rows";
}

interface BaseLimits extends Moment, HttpLimit {
  readonly push: Awaited<ReturnType<Limits["push"]>>;
  readonly store: Awaited<ReturnType<Limits["store"]>>;
}

async function sayLimits(moment: Moment, measurable: Limits): Promise<void> {
  const base: BaseLimits = {
    ...moment,
    ...(await measurable.http(usualShape)),
    push: await measurable.push(0),
    store: await measurable.store(),
  };
  limits.push(base);
  const { generator, bare, push, store } = base;
  const show = (name: string, { perSecond, cpuUs }: { perSecond: number; cpuUs: number }) =>
    `  ${name.padEnd(32)}${String(perSecond).padStart(8)} per second, ${format(cpuUs)} µs of CPU`;
  say(`\nlimits of this machine at 1 KiB, ${moment.when}`);
  say(show("generator, to a sink", generator));
  say(show("bare HTTP 202", bare));
  say(`${show("JetStream publish", store)}, ${format(store.natsCpuUs)} µs of nats-server's`);
  say(show("bare push", push));
}
