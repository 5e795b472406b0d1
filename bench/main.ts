/**
 * `npm run bench`: measures weft, and the limits of the machine beside it, in one run.
 *
 *     npm run bench -- ingress deliver --seconds 5 --rounds 3 --json results.json
 *     npm run bench -- deliver --target http://127.0.0.1:9090/default/default --sink-port 9000
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { measureJetStream, measurePush } from "./limits.ts";
import type { LoadResult } from "./load.ts";
import { firstJson, runJson, runShown, startNode } from "./process.ts";
import { type Measured, measure, type Row, rows, startSink } from "./rows.ts";
import { foreignTarget, startWeft } from "./target.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "1" },
    target: { type: "string" },
    "sink-port": { type: "string" },
    json: { type: "string" },
  },
});

interface Limits {
  /** Requests per second against a server that does nothing: the generator's own ceiling. */
  readonly generator: number;
  readonly bareHttp: number;
  readonly jetStream: number;
  readonly barePush: number;
}

async function measureLimits(seconds: number): Promise<Limits> {
  const sink = await startSink({});
  const bare = startNode("./limits.ts", ["http"]);
  const weft = await startWeft();
  try {
    const { port } = await firstJson<{ port: number }>(bare);
    const load = { connections: 64, seconds };
    const generator = await runJson<LoadResult>("./load.ts", { ...load, url: sink.url });
    const bareHttp = await runJson<LoadResult>("./load.ts", { ...load, url: `http://127.0.0.1:${port}/` });
    return {
      generator: generator.perSecond,
      bareHttp: bareHttp.perSecond,
      jetStream: await measureJetStream(weft.natsUrl ?? "", { seconds, size: 1024, window: 512 }),
      barePush: await measurePush(sink.url, { seconds, size: 1024, connections: 64 }),
    };
  } finally {
    await Promise.all([weft.stop(), bare.stop(), sink.process.stop()]);
  }
}

function line(cells: readonly (string | number)[]): string {
  const widths = [38, 10, 10, 10, 9, 9, 9, 9, 9, 8];
  return cells
    .map((cell, i) => String(cell).padEnd(widths[i] ?? 8))
    .join(" ")
    .trimEnd();
}

function toLine({ name, accepted, delivered, cpuMs, peakMb }: Measured, limits: Limits): string {
  const latency = delivered?.latency ?? accepted.latency;
  const rate = delivered?.perSecond ?? accepted.perSecond;
  const limit = delivered === undefined ? limits.bareHttp : limits.barePush;
  return line([
    name,
    accepted.perSecond,
    delivered?.perSecond ?? "-",
    `${(rate / limit).toFixed(2)}×`,
    latency.p50,
    latency.p99,
    latency.p999,
    cpuMs === undefined ? "-" : (cpuMs.weft * 1000).toFixed(0),
    cpuMs === undefined ? "-" : (cpuMs.nats * 1000).toFixed(0),
    peakMb ?? "-",
  ]);
}

function wanted(parts: readonly string[]): Row[] {
  return rows.filter(({ part }) => parts.length === 0 || parts.includes(part));
}

const seconds = Number(values.seconds);
const say = (text: string) => process.stdout.write(`${text}\n`);
const results: Measured[] = [];

for (const part of ["codec", "filter", "request"]) {
  if (positionals.length === 0 || positionals.includes(part)) await runShown(`./${part}.ts`);
}
const chosen = wanted(positionals);
if (chosen.length > 0) {
  const limits = await measureLimits(seconds);
  say(
    `\nlimits of this machine, per second: generator ${limits.generator}, bare HTTP 202 ${limits.bareHttp}, ` +
      `JetStream publish ${limits.jetStream}, bare push ${limits.barePush}\n`,
  );
  const head = [
    "",
    "in/s",
    "out/s",
    "of limit",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "weft µs",
    "nats µs",
    "peak MB",
  ];
  say(line(head));
  const foreign =
    values.target === undefined
      ? undefined
      : { target: foreignTarget(values.target), sinkPort: Number(values["sink-port"] ?? 0) };
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const row of chosen) {
      const measured = await measure(row, { seconds, foreign });
      results.push(measured);
      say(toLine(measured, limits));
    }
  }
  if (values.json !== undefined) {
    await writeFile(values.json, JSON.stringify({ at: new Date().toISOString(), limits, results }, null, 2));
  }
}
process.exit(0);
