/**
 * The README's quick start, command by command, as a new user would: a clean clone of this checkout (what is
 * committed), other ports, and a look at what must have come of each command. Needs Node.js 20 and nothing else.
 *
 *     node .ci/quickstart.mjs [FILE]     FILE gets "passed failed"
 *
 * Every `sh` block of the section must be known in `steps`, so that the README cannot grow an untried command.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const checkout = fileURLToPath(new URL("..", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "weft-quickstart-"));
const clone = join(work, "weft");
const readyWithinMs = 180_000;
const stepWithinMs = 30_000;
/** The idle window of a minute, and then some. */
const idleWithinMs = 150_000;
const stopWithinMs = 20_000;

let passed = 0;
let failed = 0;
/** @type {{ child: import("node:child_process").ChildProcess, output: string } | undefined} */
let mesh;
/** Every process the mesh was seen to run. */
const seen = new Set();
let ports = { events: 0, control: 0 };

const steps = [
  {
    block: /^npm install && npm start$/,
    what: "npm install && npm start gets ready",
    run: async (block) => {
      ports = { events: await freePort(), control: await freePort() };
      await start(block);
    },
  },
  {
    block: /"order":"A-1001"/,
    what: "an order in binary mode is answered by the second function, both were at zero",
    before: async () => expectInstances((count) => count === 0),
    check: async () => {
      await printed("Invoice INV-A-1001 for Ada");
      await printed("→ com.example.order.invoiced");
      await expectInstances((count) => count === 2);
    },
  },
  {
    block: /"order": "A-1002"/,
    what: "an order in structured mode is invoiced",
    check: () => printed("Invoice INV-A-1002 for Grace"),
  },
  {
    block: /"order": "A-1003"/,
    what: "orders in batch mode are invoiced",
    check: async () => {
      await printed("Invoice INV-A-1003 for Alan");
      await printed("Invoice INV-A-1004 for Edsger");
    },
  },
  {
    block: /"order":"A-1006"/,
    what: "a request waits for the end of the pipeline",
    status: 200,
    check: (output) => expect(output, /ce-type: com\.example\.order\.invoiced/i),
  },
  {
    block: /^npx weft request com\.example\.order\.placed /,
    what: "a request from the command line is answered",
    check: (output) => expect(output, /INV-A-1007/),
  },
  {
    block: /"order":"A-1005"/,
    what: "an order that fails is retried, then dead",
    check: async () => {
      await printed("attempt 3: 500");
      await printed("RetriesExhausted after 3 attempts");
    },
  },
  {
    block: /^npx weft dead list\nnpx weft dead show default_default_1$/,
    what: "the dead letter is shown with its three attempts",
    check: (output) => {
      expect(output, /default_default_1 +default\/price-orders +com\.example\.order\.placed +5 /);
      expect(output, /1\. .*\n.*\n? *2\. [\s\S]*3\. [\s\S]*Unknown SKU/);
    },
  },
  {
    block: /^npx weft dead redrive default_default_1$/,
    what: "the function is fixed, the letter redriven and delivered",
    before: async () => {
      const file = join(clone, "functions/price.ts");
      const line = /^```ts\n( *"COFFEE-500".*)\n```$/m.exec(section)?.[1];
      if (line === undefined) throw new Error("the README shows no line for the price");
      const source = readFileSync(file, "utf8");
      writeFileSync(file, source.replace(/( *"CUP-PAIR".*\n)/, `$1${line}\n`));
      if (!readFileSync(file, "utf8").includes("COFFEE-500")) throw new Error("no place for the price");
    },
    // The new version may take a moment; an order that still fails would simply be dead again.
    check: async () => {
      await printed("Invoice INV-A-1005 for Barbara");
      await until(async () => (await weft("dead", "list")) === "No dead letters.\n", "the letter is gone");
    },
  },
  {
    block: /^npx weft send com\.example\.stock\.counted /,
    what: "an event nobody wants is reported as unmatched",
    check: () => printed("unmatched  default/default  com.example.stock.counted"),
  },
  {
    block: /^npx weft status$/,
    what: "after a minute no function process is left",
    check: async (output) => {
      expect(output, /default\/price-orders +True/);
      await expectInstances((count) => count === 0, idleWithinMs);
    },
  },
  {
    block: /^npx weft new greet /,
    what: "a new function is served at once",
    check: () => printed("delivered  default/greet"),
  },
  {
    block: /^npx weft doctor\nnpx weft get triggers$/,
    what: "doctor finds nothing wrong, all triggers are ready",
    check: (output) => {
      if (/BAD|False/.test(output)) throw new Error(output);
      expect(output, /invoice-orders .*True/);
    },
  },
];

const section = quickStart(readFileSync(join(checkout, "README.md"), "utf8"));

try {
  execFileSync("git", ["clone", "--quiet", checkout, clone], { stdio: "inherit" });
  const blocks = [...section.matchAll(/^```sh\n([\s\S]*?)\n```$/gm)].map((match) => match[1]);
  for (const block of blocks) await tryBlock(block);
  for (const { block, what } of steps) {
    if (!blocks.some((text) => block.test(text))) note(what, new Error(`the README has no ${block}`));
  }
  await attempt("Ctrl-C stops the mesh and all it started", stop);
  await attempt("a second start knows what the first one did", async () => {
    await start("npm start");
    const { triggers } = await status();
    const price = triggers.find(({ name }) => name === "price-orders");
    if (!(price?.delivered >= 5)) throw new Error(`expected 5 deliveries, found ${JSON.stringify(price)}`);
  });
  await attempt("kill -9 leaves nothing behind", killHard);
} finally {
  for (const pid of seen) if (isAlive(pid)) kill(pid, "SIGKILL");
  if (failed > 0) process.stdout.write(`\n-- what the mesh printed\n${mesh?.output ?? ""}\n`);
  rmSync(work, { recursive: true, force: true });
}
if (process.argv[2] !== undefined) writeFileSync(process.argv[2], `${passed} ${failed}\n`);
process.exit(failed === 0 ? 0 : 1);

async function tryBlock(block) {
  const step = steps.find((each) => each.block.test(block));
  if (step === undefined) return note(block, new Error("this command of the README is not known here"));
  await attempt(step.what, async () => {
    await step.before?.();
    if (step.run) return step.run(block);
    const command = block.replaceAll("localhost:8080", `localhost:${ports.events}`);
    const output = await shell(command);
    if (command.startsWith("curl")) expect(output, new RegExp(`^HTTP/1\\.1 ${step.status ?? 202} `));
    await step.check?.(output);
  });
}

async function attempt(what, run) {
  try {
    await run();
    note(what);
  } catch (error) {
    note(what, error);
  }
}

function note(what, error) {
  if (error === undefined) passed += 1;
  else failed += 1;
  process.stdout.write(`${error === undefined ? "ok  " : "BAD "} ${what}\n`);
  if (error !== undefined) process.stdout.write(`     ${error.message}\n`);
}

/** Runs a start command of the README, with ports of our own. */
async function start(command) {
  const flags = ["--port", ports.events, "--control-port", ports.control].join(" ");
  // A process group of its own, so that Ctrl-C can be what a terminal makes of it.
  const child = spawn("bash", ["-c", `${command} -- ${flags}`], {
    cwd: clone,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  mesh = { child, output: mesh?.output ?? "" };
  const read = (chunk) => {
    mesh.output += chunk;
  };
  child.stdout.setEncoding("utf8").on("data", read);
  child.stderr.setEncoding("utf8").on("data", read);
  const ready = async () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return (await fetch(`http://127.0.0.1:${ports.control}/readyz`).catch(() => undefined))?.status === 200;
  };
  await until(ready, "the mesh is ready", readyWithinMs);
  await printed("is ready");
}

/** Ctrl-C: an interrupt for the whole process group. */
async function stop() {
  const pids = noteProcesses();
  process.kill(-mesh.child.pid, "SIGINT");
  await until(() => pids.every((pid) => !isAlive(pid)), "every process has ended", stopWithinMs);
  await printed("stopped;");
}

async function killHard() {
  const { pid } = await status();
  const pids = noteProcesses();
  kill(pid, "SIGKILL");
  await until(() => pids.every((each) => !isAlive(each)), "every process has ended", stopWithinMs);
}

async function status() {
  return (await fetch(`http://127.0.0.1:${ports.control}/weft/v1/status`)).json();
}

async function expectInstances(isWanted, withinMs = stepWithinMs) {
  await until(
    async () => {
      noteProcesses();
      const { functions } = await status();
      return isWanted(functions.reduce((count, { instances }) => count + instances.length, 0));
    },
    "the wanted number of function processes",
    withinMs,
  );
}

function printed(text) {
  return until(() => mesh.output.includes(text), `the mesh prints "${text}"`);
}

function expect(text, pattern) {
  if (!pattern.test(text)) throw new Error(`expected ${pattern}, found\n${text}`);
}

async function until(condition, what, withinMs = stepWithinMs) {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(50);
  }
}

async function shell(command) {
  const child = execFile("bash", ["-euo", "pipefail", "-c", command], { cwd: clone, timeout: stepWithinMs });
  let output = "";
  let complaints = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command}\n     ended with ${code}: ${complaints}${output}`);
  return output;
}

function weft(...args) {
  return shell(["npx", "weft", ...args].join(" "));
}

/** Pids of everything below the start command, itself included; remembers them. */
function noteProcesses() {
  const rows = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const found = [mesh.child.pid];
  for (const parent of found) found.push(...rows.filter((row) => row[1] === parent).map(([pid]) => pid));
  for (const pid of found) seen.add(pid);
  return found;
}

/** A process that only waits to be reaped is gone. */
function isAlive(pid) {
  try {
    return !execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).startsWith("Z");
  } catch {
    return false;
  }
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

function quickStart(readme) {
  const from = readme.indexOf("## Quick start\n");
  return readme.slice(from, readme.indexOf("\n## ", from));
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}
