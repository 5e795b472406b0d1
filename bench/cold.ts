/**
 * What the first event costs when its function has no process: from the POST to the reply, and how much of that
 * was the start itself (`readyMs`, as the host logs it); with the warm pool and without it, beside the next
 * event, which finds the function awake. Several repetitions, each from zero again. The limit is a bare Node.js
 * process: from its start to its first answer.
 *
 *     npm run bench -- cold
 */
import { type Figure, figuresOf, reportFigures, spreadOf } from "./figure.ts";
import { firstJson, startNode } from "./process.ts";
import { poll, startWeft, type Weft } from "./target.ts";

const repetitions = 7;
const idleWindow = "1s";
/** For the pool to be full again. */
const refillMs = 1000;
const type = "com.example.bench.cold";

const code = `export default (event) => ({ order: event.data.order, total: 1 });\n`;
const manifest = `
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: cold}
spec:
  broker: default
  filters: [{exact: {type: ${type}}}]
  subscriber:
    ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: cold}
`;

interface Case {
  readonly name: string;
  readonly flags: readonly string[];
}

const cases: readonly Case[] = [
  { name: "from zero, warm pool of 2", flags: [] },
  { name: "from zero, no warm pool", flags: ["--warm-pool", "0"] },
];

let nextId = 0;

/** Milliseconds from the POST to the whole reply. */
async function ask(url: string): Promise<number> {
  const started = performance.now();
  const response = await fetch(url, {
    method: "POST",
    headers: {
      ...{ "ce-specversion": "1.0", "ce-id": `${process.pid}-${nextId++}`, "ce-source": "/bench" },
      ...{ "ce-type": type, "content-type": "application/json", prefer: "wait=30" },
    },
    body: JSON.stringify({ order: "A-1001" }),
  });
  await response.arrayBuffer();
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
  return performance.now() - started;
}

async function atZero(weft: Weft): Promise<void> {
  await poll(async () => {
    const { functions } = await weft.status();
    return functions.some(({ name, instances }) => name === "cold" && instances.length === 0) || undefined;
  });
  await new Promise((resolve) => setTimeout(resolve, refillMs));
}

async function measure({ flags }: Case): Promise<Readonly<Record<"cold" | "ready" | "warm", number[]>>> {
  const ready: number[] = [];
  const weft = await startWeft({
    functions: { "cold.ts": code },
    flags: ["--idle-window", idleWindow, ...flags],
    onLog: (text) => {
      for (const [, ms] of text.matchAll(/"readyMs":([\d.]+)/g)) ready.push(Number(ms));
    },
  });
  try {
    await weft.apply(manifest);
    const [cold, warm]: [number[], number[]] = [[], []];
    // The first round also compiles the function and fills caches: not counted.
    for (let round = 0; round <= repetitions; round++) {
      await atZero(weft);
      if (round === 0) ready.length = 0;
      const [first, second] = [await ask(weft.url), await ask(weft.url)];
      if (round === 0) ready.length = 0;
      else {
        cold.push(first);
        warm.push(second);
      }
    }
    return { cold, ready, warm };
  } finally {
    await weft.stop();
  }
}

/** Milliseconds from the start of a bare node:http server to its answer to a POST. */
async function bareStart(): Promise<number> {
  const started = performance.now();
  const server = startNode("./bare-http.ts", []);
  try {
    const { port } = await firstJson<{ port: number }>(server);
    await (await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "{}" })).arrayBuffer();
    return performance.now() - started;
  } finally {
    await server.stop();
  }
}

async function bareStarts(): Promise<number[]> {
  const times: number[] = [];
  // The first one finds nothing in the caches of the machine, as above.
  for (let round = 0; round <= repetitions; round++) {
    const ms = await bareStart();
    if (round > 0) times.push(ms);
  }
  return times;
}

function show(values: readonly number[]): string {
  if (values.length === 0) return "-".padStart(24);
  const { median, min, max } = spreadOf(values);
  return `${median.toFixed(1)} (${min.toFixed(1)}…${max.toFixed(1)})`.padStart(24);
}

const figures: Figure[] = [];
const heads = ["POST to reply", "readyMs", "next event"].map((head) => head.padStart(24)).join("");
process.stdout.write(`\ncold start, ${repetitions} times, ms       ${heads}  of limit\n`);
const bare = await bareStarts();
const limit = spreadOf(bare).median;
process.stdout.write(`  ${"a bare Node.js process".padEnd(30)}${show(bare)}\n`);
figures.push(
  ...figuresOf({ part: "cold", name: "a bare Node.js process" }, [["first answer ms", "less", limit]]),
);
for (const each of cases) {
  const { cold, ready, warm } = await measure(each);
  const median = (values: readonly number[]) => (values.length === 0 ? undefined : spreadOf(values).median);
  const coldMs = spreadOf(cold).median;
  figures.push(
    ...figuresOf({ part: "cold", name: each.name }, [
      ["POST to reply ms", "less", coldMs],
      ["ready ms", "less", median(ready)],
      ["next event ms", "less", median(warm)],
      ["ms/limit", "less", coldMs / limit],
    ]),
  );
  const ratio = `${(coldMs / limit).toFixed(2)}×`.padStart(10);
  process.stdout.write(`  ${each.name.padEnd(30)}${show(cold)}${show(ready)}${show(warm)}${ratio}\n`);
}
await reportFigures(figures);
process.exit(0);
