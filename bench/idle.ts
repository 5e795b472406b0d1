/**
 * What weft costs while nothing happens: memory of each process and CPU per second, without triggers and with
 * a hundred.
 *
 *     npm run bench -- idle
 */
import { type Figure, reportFigures } from "./figure.ts";
import { childrenOf, usageOf } from "./process.ts";
import { startWeft, type Weft } from "./target.ts";

const settleMs = 3000;
const watchedMs = 2000;
const triggerCounts = [0, 100];

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function manifests(count: number): string {
  return Array.from(
    { length: count },
    (_, i) => `---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: idle-${i}}
spec:
  broker: default
  filters: [{exact: {type: com.example.idle.t${i}}}]
  subscriber: {uri: "http://127.0.0.1:9/"}
`,
  ).join("");
}

/** What the processes that wait to become functions have in their command line. */
const runner = "/sdk/server.";

async function watch({ processes, usage }: Weft): Promise<readonly number[]> {
  await pause(settleMs);
  const before = usage();
  await pause(watchedMs);
  const after = usage();
  if (before === undefined || after === undefined) throw new Error("no usage");
  const pool = processes.flatMap(({ pid }) => childrenOf(pid, runner));
  const poolMb = pool.reduce((sum, pid) => sum + usageOf(pid).residentMb, 0);
  const perSecond = (name: "weft" | "nats") => (after[name].cpuMs - before[name].cpuMs) / (watchedMs / 1000);
  return [
    after.weft.residentMb,
    after.nats.residentMb,
    pool.length,
    poolMb,
    perSecond("weft"),
    perSecond("nats"),
  ];
}

const heads = ["weft MB", "nats MB", "warm pool", "pool MB", "weft ms/s", "nats ms/s"];
const figures: Figure[] = [];
process.stdout.write(
  `\nidle: resident memory, CPU per second ${heads.map((head) => head.padStart(10)).join(" ")}\n`,
);
for (const count of triggerCounts) {
  const weft = await startWeft();
  try {
    if (count > 0) await weft.apply(manifests(count));
    const cells = await watch(weft);
    const name = `${count} triggers`;
    figures.push({ part: "idle", name, unit: "MB", value: cells[0] ?? Number.NaN });
    process.stdout.write(
      `  ${name.padEnd(35)} ${cells.map((cell) => String(Math.round(cell)).padStart(10)).join(" ")}\n`,
    );
  } finally {
    await weft.stop();
  }
}
await reportFigures(figures);
process.exit(0);
