/**
 * What weft costs while nothing happens: memory of each process and CPU per second, without triggers and with
 * a hundred. The limits are a bare node:http server and a bare nats-server.
 *
 *     npm run bench -- idle
 */
import { type Figure, figuresOf, reportFigures } from "./figure.ts";
import { startBenchNats } from "./nats.ts";
import { firstJson, startNode } from "./process.ts";
import { natsRole, poolRole, startWeft } from "./target.ts";
import { between, type RoleUsage, sumOf, usageOf } from "./usage.ts";

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

/** Megabytes now, CPU milliseconds per second. */
interface Idle {
  readonly weftMb: number;
  readonly natsMb: number;
  readonly poolMb: number;
  readonly weftMs: number;
  readonly natsMs: number;
}

async function watch(usage: () => readonly RoleUsage[]): Promise<Idle> {
  await pause(settleMs);
  const before = usage();
  await pause(watchedMs);
  const processes = between(before, usage());
  const of = (isWanted: (role: string) => boolean) => sumOf(processes.filter(({ role }) => isWanted(role)));
  const weft = of((role) => role !== natsRole && role !== poolRole);
  const nats = of((role) => role === natsRole);
  const perSecond = (ms: number) => ms / (watchedMs / 1000);
  return {
    weftMb: weft.residentMb,
    natsMb: nats.residentMb,
    poolMb: of((role) => role === poolRole).residentMb,
    weftMs: perSecond(weft.cpuMs),
    natsMs: perSecond(nats.cpuMs),
  };
}

async function watchWeft(triggers: number): Promise<Idle> {
  const weft = await startWeft();
  try {
    if (triggers > 0) await weft.apply(manifests(triggers));
    return await watch(() => weft.usage());
  } finally {
    await weft.stop();
  }
}

async function watchBare(): Promise<Idle> {
  const nats = await startBenchNats();
  const server = startNode("./bare-http.ts", []);
  try {
    await firstJson(server);
    return await watch(() => [
      { role: "bare", pid: server.pid, ...usageOf(server.pid) },
      { role: natsRole, pid: nats.pid, ...usageOf(nats.pid) },
    ]);
  } finally {
    await server.stop();
    await nats.stop();
  }
}

const heads = ["weft MB", "nats MB", "pool MB", "weft ms/s", "nats ms/s", "MB/limit"];
const figures: Figure[] = [];
process.stdout.write(
  `\nidle: resident memory, CPU per second ${heads.map((head) => head.padStart(10)).join(" ")}\n`,
);

function show(name: string, idle: Idle, limitMb: number): void {
  const { weftMb, natsMb, poolMb, weftMs, natsMs } = idle;
  const numbers = [weftMb, natsMb, poolMb, weftMs, natsMs, weftMb / limitMb];
  figures.push(
    ...figuresOf(
      { part: "idle", name },
      heads.map((head, i) => [head, "less", numbers[i]]),
    ),
  );
  const cells = numbers.map((number) => number.toFixed(1).padStart(10));
  process.stdout.write(`  ${name.padEnd(35)} ${cells.join(" ")}×\n`);
}

const bare = await watchBare();
show("bare node:http and nats-server", bare, bare.weftMb);
for (const count of triggerCounts) show(`${count} triggers`, await watchWeft(count), bare.weftMb);
await reportFigures(figures);
process.exit(0);
