/**
 * Where the CPU time of an event goes, stage by stage: weft runs under load with Node's sampling profiler, and
 * each sample of the loaded time belongs to the nearest frame of weft's own code up its stack. What runs without
 * one (parsers and sockets called by the event loop) belongs to the library that is on the stack.
 *
 *     node bench/stages.ts --seconds 5
 *
 * The samples give the shares; the absolute numbers are the CPU time of the main thread by the kernel's account,
 * so waiting for the processor on a busy machine is not counted.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { arrived, startSink } from "./arrival.ts";
import { nowUs } from "./clock.ts";
import type { LoadResult } from "./load.ts";
import { runJson } from "./process.ts";
import { oneTrigger } from "./rows.ts";
import { type Stage, stageOf, stages } from "./stage.ts";
import { startWeft } from "./target.ts";
import { mainThreadCpuMs, usageOf } from "./usage.ts";

const sampleIntervalUs = 500;
const warmUpSeconds = 2;
const connections = 64;

const profileSchema = z.object({
  nodes: z.array(
    z.object({
      id: z.number(),
      callFrame: z.object({ functionName: z.string(), url: z.string() }),
      children: z.array(z.number()).optional(),
    }),
  ),
  /** Microseconds of the monotonic clock that all processes share. */
  startTime: z.number(),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
});
type Profile = z.output<typeof profileSchema>;

interface Loaded {
  readonly events: number;
  readonly perSecond: number;
  readonly fromUs: number;
  readonly toUs: number;
  readonly mainCpuMs: number;
  readonly allCpuMs: number;
}

const { values } = parseArgs({ options: { seconds: { type: "string", default: "5" } } });
const [load1 = 0] = loadavg();
const dir = await mkdtemp(join(tmpdir(), "weft-stages-"));
try {
  const loaded = await runLoaded(Number(values.seconds));
  const [file] = (await readdir(dir)).filter((name) => name.endsWith(".cpuprofile"));
  if (file === undefined) throw new Error("weft left no profile");
  const profile = profileSchema.parse(JSON.parse(await readFile(join(dir, file), "utf8")));
  print(loaded, sharesOf(profile, loaded));
} finally {
  await rm(dir, { recursive: true, force: true });
}
process.exit(0);

async function runLoaded(seconds: number): Promise<Loaded> {
  const sink = await startSink({});
  const weft = await startWeft({
    nodeFlags: ["--cpu-prof", "--cpu-prof-dir", dir, "--cpu-prof-interval", String(sampleIntervalUs)],
  });
  try {
    await weft.apply(oneTrigger(sink.url));
    const pid = weft.processes[0]?.pid ?? Number.NaN;
    await runJson("./load.ts", { url: weft.url, connections, seconds: warmUpSeconds });
    await arrived(sink.url, Number.POSITIVE_INFINITY);
    await fetch(`${sink.url}reset`);
    const [mainBefore, before, fromUs] = [mainThreadCpuMs(pid), usageOf(pid), nowUs()];
    const { events } = await runJson<LoadResult>("./load.ts", { url: weft.url, connections, seconds });
    const { perSecond } = await arrived(sink.url, events);
    const [mainAfter, after, toUs] = [mainThreadCpuMs(pid), usageOf(pid), nowUs()];
    return {
      events,
      perSecond,
      fromUs,
      toUs,
      mainCpuMs: mainAfter - mainBefore,
      allCpuMs: after.cpuMs - before.cpuMs,
    };
  } finally {
    await weft.stop();
    await sink.process.stop();
  }
}

/** Of the samples between the two moments that were not idle. */
function sharesOf(profile: Profile, { fromUs, toUs }: Loaded): ReadonlyMap<Stage, number> {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((of) => [of, id])));
  const stageOfNode = new Map<number, Stage | "idle">();
  const find = (id: number): Stage | "idle" => {
    const stack: Profile["nodes"][number]["callFrame"][] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = nodes.get(at);
      if (node !== undefined) stack.push(node.callFrame);
    }
    return stageOf(stack);
  };
  const us = new Map<Stage, number>();
  let total = 0;
  let atUs = profile.startTime;
  for (const [i, id] of profile.samples.entries()) {
    const delta = profile.timeDeltas[i] ?? 0;
    atUs += delta;
    if (atUs < fromUs || atUs > toUs) continue;
    const stage = stageOfNode.get(id) ?? find(id);
    stageOfNode.set(id, stage);
    if (stage === "idle") continue;
    us.set(stage, (us.get(stage) ?? 0) + delta);
    total += delta;
  }
  return new Map([...us].map(([stage, part]) => [stage, part / total]));
}

function print({ events, perSecond, mainCpuMs, allCpuMs }: Loaded, shares: ReadonlyMap<Stage, number>): void {
  const say = (text: string) => process.stdout.write(`${text}\n`);
  const mainUs = (mainCpuMs * 1000) / events;
  const othersUs = ((allCpuMs - mainCpuMs) * 1000) / events;
  const row = (name: string, us: number, share: string) =>
    say(`| ${name.padEnd(44)} | ${us.toFixed(1).padStart(12)} | ${share.padStart(5)} |`);
  say(
    `${new Date().toISOString().slice(0, 10)}, 1 trigger, instant subscriber, 1 KiB, ${connections} connections: ` +
      `${events} events, ${perSecond} delivered per second under the profiler, load average before ${load1.toFixed(2)}\n`,
  );
  say(`| ${"stage".padEnd(44)} | CPU µs/event | share |`);
  say(`|${"-".repeat(46)}|${"-".repeat(13)}:|${"-".repeat(6)}:|`);
  for (const stage of stages) {
    const share = shares.get(stage) ?? 0;
    row(stage, share * mainUs, `${(share * 100).toFixed(0)} %`);
  }
  row("main thread", mainUs, "100 %");
  row("other threads (collector, compiler, profiler)", othersUs, "");
}
