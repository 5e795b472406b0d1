import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Clock, FakeClock, systemClock } from "../../src/mesh/clock.ts";
import { MeshError } from "../../src/mesh/errors.ts";
import { bundleFunction, stopBundler } from "../../src/mesh/host/bundle.ts";
import { createGateway } from "../../src/mesh/host/gateway.ts";
import { type FunctionHost, type FunctionHostOptions, startFunctionHost } from "../../src/mesh/host/host.ts";
import type { LogLine } from "../../src/mesh/host/instance.ts";
import type { Lease, RevisionSpec } from "../../src/mesh/host/service.ts";
import { type FunctionChange, watchFunctions } from "../../src/mesh/host/watch.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { until } from "../support/until.ts";

const hello = { namespace: "default", name: "hello" };

let dir: string;
let host: FunctionHost;
let lines: LogLine[];
let revisions = 0;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "weft-host-"));
  lines = [];
});
afterEach(async () => {
  await host?.close({ deadlineMs: 2000 });
  await stopBundler();
  await rm(dir, { recursive: true, force: true });
});

async function start(options: Partial<FunctionHostOptions> & { clock?: Clock } = {}): Promise<void> {
  host = await startFunctionHost({
    dataDir: join(dir, "data"),
    clock: systemClock,
    log: silentLog,
    onLine: (line) => lines.push(line),
    poolSize: 1,
    ...options,
  });
}

async function apply(source: string, options: Partial<RevisionSpec> = {}) {
  const name = options.name ?? "hello";
  const file = join(dir, "functions", `${name}.ts`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, source);
  const result = await bundleFunction(file, join(dir, "data", "bundles"));
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  revisions += 1;
  return host.applyRevision({
    namespace: "default",
    name,
    revision: `${name}-${String(revisions).padStart(5, "0")}`,
    file: result.bundle.file,
    root: result.bundle.root,
    env: {},
    containerConcurrency: 0,
    timeoutSeconds: 10,
    annotations: {},
    ...options,
  });
}

async function send(lease: Lease, data: unknown = {}, type = "test.ping"): Promise<string> {
  const response = await fetch(lease.url, {
    method: "POST",
    headers: {
      ...lease.headers,
      "ce-specversion": "1.0",
      "ce-id": "1",
      "ce-source": "/test",
      "ce-type": type,
      "content-type": "application/json",
      connection: "close",
    },
    body: JSON.stringify(data),
  });
  const text = await response.text();
  return response.ok ? text : `${response.status} ${text}`;
}

/** What the dispatcher does: one lease, one request. */
async function call(data: unknown = {}, service = hello): Promise<string> {
  const lease = await host.acquire(service, AbortSignal.timeout(20_000));
  try {
    const text = await send(lease, data);
    lease.release("answered");
    return text;
  } catch (error) {
    lease.release("broken");
    throw error;
  }
}

const status = (name = "hello") => {
  const found = host.status().find((one) => one.name === name);
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
};
const pids = (name = "hello") => status(name).instances.map((instance) => instance.pid);
const readyPids = (name = "hello") =>
  status(name)
    .instances.filter((instance) => instance.state === "ready")
    .map((instance) => instance.pid);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Real processes, fake time: moves the clock until the condition holds. */
async function advanceUntil(clock: FakeClock, condition: () => boolean): Promise<void> {
  await until(async () => {
    if (condition()) return true;
    await clock.advance(1000);
    return false;
  });
}

const echoPid = "export default () => process.pid;";

describe("FunctionHost", () => {
  test("must validate a revision with one instance, drop to zero when idle, and wake up again", async () => {
    const clock = new FakeClock();
    await start({ clock });
    expect(await apply(echoPid)).toEqual({ ready: true, warnings: [] });
    const first = await call();
    // The instance that validated it may still be on its way out.
    await until(() => pids().length === 1);
    expect(pids()).toEqual([Number(first)]);
    await advanceUntil(clock, () => pids().length === 0);
    expect(clock.now() - 1_700_000_000_000).toBeGreaterThanOrEqual(60_000);
    expect(isAlive(Number(first))).toBe(false);
    expect(host.slots(hello)).toBe(100);

    const second = await call();
    expect(second).not.toBe(first);
    expect(status()).toMatchObject({ actual: 1, desired: 1, lastStart: { importMs: expect.any(Number) } });
  });

  test("must answer 100 parallel requests from zero at cc=1, one at a time per instance", async () => {
    const clock = new FakeClock();
    await start({ clock, instancesMax: 4 });
    await apply(
      `let busy = 0;
       export default async () => {
         busy += 1;
         if (busy > 1) throw new Error("two at once");
         await new Promise((resolve) => setTimeout(resolve, 3));
         busy -= 1;
         return process.pid;
       };`,
      { containerConcurrency: 1 },
    );
    await advanceUntil(clock, () => pids().length === 0);
    expect(host.slots(hello)).toBe(1);
    const calls = Array.from({ length: 100 }, () => call());
    await clock.advance(300);
    const answers = await Promise.all(calls);
    expect(answers.filter((answer) => !/^\d+$/.test(answer))).toEqual([]);
    expect(new Set(answers).size).toBeGreaterThan(1);
    expect(new Set(answers).size).toBeLessThanOrEqual(4);
  });

  test("acquire must serve in order and let go of who gives up", async () => {
    await start();
    await apply(echoPid, {
      containerConcurrency: 1,
      annotations: { "autoscaling.knative.dev/max-scale": "1" },
    });
    const first = await host.acquire(hello);
    const order: string[] = [];
    const giveUp = new AbortController();
    const waiting = [host.acquire(hello), host.acquire(hello, giveUp.signal), host.acquire(hello)];
    const settled = waiting.map((one, index) =>
      one.then(
        (lease) => {
          order.push(`served ${index}`);
          lease.release("answered");
        },
        () => order.push(`gave up ${index}`),
      ),
    );
    giveUp.abort();
    await settled[1];
    first.release("answered");
    await Promise.all(settled);
    expect(order).toEqual(["gave up 1", "served 0", "served 2"]);
    // The instance that only had to show that the revision can serve may still be on its way out.
    await until(() => status().instances.length === 1);
    expect(status()).toMatchObject({ waiting: 0, instances: [{ inFlight: 0 }] });
  });

  test("demand must wake a sleeping service and tell of its capacity", async () => {
    const clock = new FakeClock();
    await start({ clock });
    await apply(echoPid);
    await advanceUntil(clock, () => pids().length === 0);
    const told: string[] = [];
    host.onCapacity((service) => told.push(service.name));
    host.demand(hello, 250);
    await until(() => told.length > 0);
    expect(status().desired).toBe(4);
    host.demand(hello, 0);
    await advanceUntil(clock, () => pids().length === 0);
  });

  test("must move traffic only to a revision that is ready, and let the old one finish", async () => {
    await start();
    const flag = join(dir, "go");
    await apply(
      `import { existsSync } from "node:fs";
       export default async () => {
         while (!existsSync(${JSON.stringify(flag)})) await new Promise((resolve) => setTimeout(resolve, 5));
         return "old";
       };`,
    );
    const slow = call();
    await until(() => status().instances.some(({ inFlight }) => inFlight === 1));
    expect(await apply("export default () => 'new';")).toMatchObject({ ready: true });
    expect(await call()).toBe("new");
    expect(
      status()
        .instances.map((instance) => instance.state)
        .sort(),
    ).toEqual(["draining", "ready"]);
    await writeFile(flag, "");
    expect(await slow).toBe("old");
    await until(() => pids().length === 1);
  });

  test.each([
    {
      name: "init fails",
      source: "export function init() { throw new Error('no database'); } export default () => {};",
      reason: "ExitCode1",
      message: "no database",
    },
    {
      name: "the import fails",
      source: "throw new TypeError('top level'); export default () => {};",
      reason: "ExitCode1",
      message: /top level[\s\S]*hello\.ts:1/,
    },
    {
      name: "there is no handler",
      source: "export const other = 1;",
      reason: "ExitCode1",
      message: "Expected a default export",
    },
    {
      name: "it exits",
      source: "process.exit(7); export default () => {};",
      reason: "ExitCode7",
      message: "ExitCode7",
    },
    {
      name: "it hangs",
      source: "while (true); export default () => {};",
      reason: "ProgressDeadlineExceeded",
      message: "0.3 s",
    },
  ])("must keep the old revision when $name", async ({ source, reason, message }) => {
    await start();
    await apply("export default () => 'old';");
    const deadline = reason === "ProgressDeadlineExceeded" ? "300ms" : "30s";
    const result = await apply(source, {
      annotations: { "serving.knative.dev/progress-deadline": deadline },
    });
    expect(result).toMatchObject({ ready: false, reason, message: expect.stringMatching(message) });
    expect(status().problem).toMatchObject({ reason });
    expect(await call()).toBe("old");
  });

  test("must serve the old version, even from zero, while the watched file is broken", async () => {
    const clock = new FakeClock();
    await start({ clock });
    const changes: FunctionChange[] = [];
    const applied: Promise<unknown>[] = [];
    const functions = join(dir, "functions");
    await mkdir(functions);
    const file = join(functions, "hello.ts");
    await writeFile(file, "export default () => 'old';");
    const watcher = await watchFunctions({
      dir: functions,
      bundleDir: join(dir, "data", "bundles"),
      clock,
      log: silentLog,
      onChange(change) {
        changes.push(change);
        if (change.kind !== "bundle") return;
        const revision = `hello-${changes.length}`;
        const { file, root } = change.bundle;
        const limits = { containerConcurrency: 0, timeoutSeconds: 10, annotations: {} };
        applied.push(host.applyRevision({ ...hello, revision, file, root, env: {}, ...limits }));
      },
    });
    try {
      await Promise.all(applied);
      await writeFile(file, "export default () => {\n  return 'new' +;\n};");
      await watcher.scan();
      expect(changes.at(-1)).toMatchObject({ kind: "problems", problems: [{ file, line: 2, column: 17 }] });
      await advanceUntil(clock, () => pids().length === 0);
      expect(await call()).toBe("old");
      await writeFile(file, "export default () => 'new';");
      await watcher.scan();
      await Promise.all(applied);
      expect(await call()).toBe("new");
    } finally {
      await watcher.close();
    }
  });

  test("a newer revision must supersede one that is still starting", async () => {
    await start();
    const stuck = apply(
      "await new Promise(() => { setInterval(() => {}, 1000); }); export default () => {};",
    );
    await until(() => host.status().some((service) => service.instances.length === 1));
    expect(await apply("export default () => 'newer';")).toMatchObject({ ready: true });
    expect(await stuck).toMatchObject({ ready: false, reason: "Superseded" });
    expect(await call()).toBe("newer");
  });

  test("must replace a crashed instance at once, and leave the others alone", async () => {
    await start();
    await apply(
      "export default (event) => { if (event.data.crash) setTimeout(() => { throw new Error('poison'); }); else return process.pid; };",
      { containerConcurrency: 1, annotations: { "autoscaling.knative.dev/min-scale": "2" } },
    );
    await until(() => readyPids().length === 2);
    const leases = [await host.acquire(hello), await host.acquire(hello)];
    const [victim, other] = await Promise.all(leases.map((lease) => send(lease)));
    for (const lease of leases) lease.release("answered");
    const lease = await host.acquire(hello);
    const dying = await send(lease);
    await send(lease, { crash: true });
    lease.release("answered");
    await until(() => !isAlive(Number(dying)));
    const survivor = Number(dying === victim ? other : victim);
    await until(() => readyPids().length === 2);
    expect(readyPids()).toContain(survivor);
    expect(lines.some(({ stream, line }) => stream === "stderr" && line.includes("poison"))).toBe(true);
  });

  test("must answer 500 to what is in flight in a crash", async () => {
    await start();
    await apply(`export default (event) => event.data.crash ? Promise.reject(new Error("handled"))
      : new Promise(() => setTimeout(() => { throw new Error("poison"); }, 20));`);
    expect(await call({})).toMatch(/^500 .*Crashed.*poison/);
  });

  test("must kill an instance that is stuck in a loop, and replace it", async () => {
    await start();
    await apply(
      "export default ({ data }) => { if (data.loop) console.log('looping'); while (data.loop); return process.pid; };",
    );
    const stuck = Number(await call());
    const lease = await host.acquire(hello);
    const abort = new AbortController();
    const headers = { ...lease.headers, "content-type": "application/json" };
    const answer = fetch(lease.url, { method: "POST", headers, body: '{"loop":true}', signal: abort.signal });
    await until(() => lines.some(({ line }) => line === "looping"));
    abort.abort();
    await expect(answer).rejects.toThrow();
    lease.release("broken");
    await until(() => !isAlive(stuck));
    expect(Number(await call())).not.toBe(stuck);
  });

  test("must refuse with the reason while starts fail, and start again after the back-off", async () => {
    const clock = new FakeClock();
    await start({ clock });
    const flag = join(dir, "broken");
    await apply(
      `import { existsSync } from "node:fs";
       export function init() { if (existsSync(${JSON.stringify(flag)})) throw new Error("no database"); }
       export default () => "fine";`,
    );
    await advanceUntil(clock, () => pids().length === 0);
    await writeFile(flag, "");
    const refused = await call().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(MeshError);
    expect(refused).toMatchObject({
      code: "FUNCTION_UNAVAILABLE",
      message: expect.stringContaining("no database"),
    });
    expect(host.slots(hello)).toBe(0);
    await expect(host.acquire(hello)).rejects.toMatchObject({ code: "FUNCTION_UNAVAILABLE" });

    await rm(flag);
    const told: string[] = [];
    host.onCapacity((service) => told.push(service.name));
    await clock.advance(1000);
    expect(told).toContain("hello");
    expect(host.slots(hello)).toBeGreaterThan(0);
    expect(await call()).toBe("fine");
    expect(status().problem).toBeUndefined();
  });

  test("must refuse services it does not know", async () => {
    await start();
    await expect(host.acquire(hello)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(host.slots(hello)).toBe(0);
  });

  test("must make room for a sleeping service when the machine is full", async () => {
    await start({ instancesMax: 2 });
    for (const name of ["one", "two"]) await apply("export default () => 'here';", { name });
    await apply("export default () => 'here';", { name: "three" });
    for (const name of ["one", "two", "three", "one"]) {
      expect(await call({}, { namespace: "default", name })).toBe("here");
    }
    await until(() => host.status().flatMap((service) => service.instances).length <= 2);
  });

  test("must give the function its environment and nothing of ours", async () => {
    await start();
    await apply("export default () => ({ ...process.env, cwd: process.cwd() });", {
      env: { GREETING: "hi" },
    });
    const env = JSON.parse(await call());
    expect(Object.keys(env).sort()).toEqual(
      [
        "FUNC_PORT",
        "GREETING",
        "HOME",
        "K_CONFIGURATION",
        "K_REVISION",
        "K_SERVICE",
        "PATH",
        "PORT",
        "TMPDIR",
        "cwd",
      ].sort(),
    );
    expect(env).toMatchObject({
      GREETING: "hi",
      K_SERVICE: "hello",
      K_CONFIGURATION: "hello",
      cwd: join(dir, "functions"),
    });
    expect(existsSync(env.TMPDIR)).toBe(true);
    await host.removeService(hello);
    expect(existsSync(env.TMPDIR)).toBe(false);
  });

  test("must hand on what functions print, with where it came from", async () => {
    await start();
    await apply(
      "export default (event, ctx) => { console.log('plain'); ctx.log.warn('told', { n: 1 }); console.error('bad'); };",
    );
    await call();
    await until(() => lines.length >= 3);
    expect(lines.map(({ stream, service }) => `${service} ${stream}`).sort()).toEqual([
      "hello stderr",
      "hello stdout",
      "hello stdout",
    ]);
    const json = lines.find(({ line }) => line.startsWith("{"));
    expect(JSON.parse(json?.line ?? "")).toMatchObject({ level: "warn", msg: "told", event: "1", n: 1 });
  });

  test("an instance with waitUntil work must stay until it is done", async () => {
    const clock = new FakeClock();
    await start({ clock });
    const flag = join(dir, "done");
    await apply(
      `import { existsSync } from "node:fs";
       export default (event, ctx) => ctx.waitUntil(new Promise((resolve) => {
         const timer = setInterval(() => { if (existsSync(${JSON.stringify(flag)})) { clearInterval(timer); resolve(undefined); } }, 10);
       }));`,
    );
    await call();
    const [pid] = pids();
    await until(() => status().instances.length === 1);
    for (let second = 0; second < 120; second++) await clock.advance(1000);
    expect(readyPids()).toEqual([pid]);
    await writeFile(flag, "");
    await advanceUntil(clock, () => pids().length === 0);
  });

  test("close must let requests finish, and leave no process and no directory", async () => {
    await start({ poolSize: 2 });
    await apply(
      "export default async () => { await new Promise((r) => setTimeout(r, 200)); return 'finished'; };",
    );
    const all = pids();
    const answer = call();
    await until(() => status().instances[0]?.inFlight === 1);
    await host.close({ deadlineMs: 5000 });
    expect(await answer).toBe("finished");
    expect(all.filter(isAlive)).toEqual([]);
    expect(await readdir(join(dir, "data", "instances"))).toEqual([]);
  });

  test("close must kill what does not leave by the deadline", async () => {
    await start();
    await apply(
      "export const shutdown = () => new Promise(() => setInterval(() => {}, 1000)); export default () => process.pid;",
    );
    const pid = Number(await call());
    await host.close({ deadlineMs: 100 });
    expect(isAlive(pid)).toBe(false);
  });
});

describe("FunctionHost killed by -9", () => {
  let parent: ChildProcess | undefined;
  afterEach(() => parent?.kill("SIGKILL"));

  /** A host in a process of its own, with one function that may be stuck in a loop. */
  async function startParent(source: string): Promise<number[]> {
    await start();
    await apply("export default () => {};");
    const file = join(dir, "functions", "hello.ts");
    await writeFile(file, source);
    const result = await bundleFunction(file, join(dir, "data", "bundles"));
    if (!result.ok) throw new Error("bundle");
    const script = join(dir, "parent.mjs");
    const module = (name: string) => JSON.stringify(new URL(`../../src/mesh/${name}`, import.meta.url).href);
    await writeFile(
      script,
      `import { readdir, readFile } from "node:fs/promises";
       import { startFunctionHost } from ${module("host/host.ts")};
       import { systemClock } from ${module("clock.ts")};
       import { silentLog } from ${module("log.ts")};
       const host = await startFunctionHost({ dataDir: ${JSON.stringify(join(dir, "parent"))}, clock: systemClock, log: silentLog, onLine() {}, poolSize: 1 });
       await host.applyRevision({ namespace: "default", name: "hello", revision: "hello-00001", file: ${JSON.stringify(result.bundle.file)}, env: {}, containerConcurrency: 0, timeoutSeconds: 10, annotations: {} });
       await host.warmedUp();
       const lease = await host.acquire({ namespace: "default", name: "hello" });
       fetch(lease.url, { method: "POST", headers: lease.headers }).catch(() => {});
       console.log(host.status()[0].instances[0].pid);
       setInterval(() => {}, 1000);`,
    );
    parent = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    if (parent.stdout === null) throw new Error("no stdout");
    await once(parent.stdout, "data");
    const instances = join(dir, "parent", "instances");
    const found: number[] = [];
    await until(async () => {
      found.length = 0;
      for (const name of await readdir(instances)) {
        found.push(JSON.parse(await readFile(join(instances, name, "process.json"), "utf8")).pid);
      }
      return found.length === 2;
    });
    expect(found.filter(isAlive)).toHaveLength(2);
    return found;
  }

  test.each([
    { name: "idle", source: "export default () => {};" },
    { name: "stuck in a loop", source: "export default () => { while (true); };" },
  ])("must leave no runner behind, not even one $name", async ({ source }) => {
    const runners = await startParent(source);
    parent?.kill("SIGKILL");
    await until(() => runners.every((pid) => !isAlive(pid)));
  });

  test("the next start must end a leftover it can prove to be one, and nothing else", async () => {
    const stat = async (pid: number) => {
      const text = await readFile(`/proc/${pid}/stat`, "utf8");
      const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
      return `${boot} ${text.slice(text.lastIndexOf(")") + 2).split(" ")[19]}`;
    };
    const sleepers = [0, 1].map(() => spawn("sleep", ["60"], { detached: true, stdio: "ignore" }));
    const [leftover, stranger] = sleepers.map((sleeper) => sleeper.pid ?? 0);
    if (leftover === undefined || stranger === undefined) throw new Error("no sleepers");
    try {
      for (const [name, record] of [
        ["a", { pid: leftover, identity: await stat(leftover) }],
        ["b", { pid: stranger, identity: "another boot 1" }],
        ["c", "garbage"],
      ] as const) {
        await mkdir(join(dir, "data", "instances", name), { recursive: true });
        await writeFile(join(dir, "data", "instances", name, "process.json"), JSON.stringify(record));
      }
      await start({ poolSize: 0 });
      await until(() => !isAlive(leftover));
      expect(isAlive(stranger)).toBe(true);
      expect(await readdir(join(dir, "data", "instances"))).toEqual([]);
    } finally {
      for (const sleeper of sleepers) sleeper.kill("SIGKILL");
    }
  });
});

describe("createGateway", () => {
  let server: Server;

  async function listen(): Promise<void> {
    const gateway = createGateway({ host, clock: systemClock });
    server = createServer((incoming, response) => {
      if (!gateway(incoming, response)) response.writeHead(421).end("not a function");
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
  }
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  function get(
    hostHeader: string,
    {
      headers = {},
      body = "",
      path = "/",
    }: { headers?: Record<string, string>; body?: string; path?: string } = {},
  ) {
    return new Promise<{ status: number | undefined; headers: Record<string, unknown>; text: string }>(
      (resolve, reject) => {
        const outgoing = request(
          {
            port: (server.address() as AddressInfo).port,
            path,
            method: "POST",
            headers: { host: hostHeader, ...headers },
          },
          (response) => {
            let text = "";
            response.setEncoding("utf8");
            response.on("data", (chunk) => {
              text += chunk;
            });
            response.on("end", () =>
              resolve({ status: response.statusCode, headers: response.headers, text }),
            );
            response.on("error", reject);
          },
        );
        outgoing.on("error", reject);
        outgoing.end(body);
      },
    );
  }

  test("must proxy by host name, with Knative's headers and without the caller's hop-by-hop ones", async () => {
    await start();
    await apply(
      "export default { async fetch(request) { return Response.json({ url: request.url, body: await request.text(), ...Object.fromEntries(request.headers) }, { headers: { 'x-answer': 'yes' } }); } };",
    );
    await listen();
    const answer = await get("hello.default.localhost:8080", {
      path: "/a/b?c=d",
      body: "payload",
      headers: { te: "trailers", "x-forwarded-for": "10.0.0.1", "weft-attempt": "9", "x-own": "kept" },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({ "x-answer": "yes" });
    const seen = JSON.parse(answer.text);
    expect(seen).toMatchObject({
      url: "http://hello.default.localhost:8080/a/b?c=d",
      body: "payload",
      host: "hello.default.localhost:8080",
      "k-proxy-request": "activator",
      "x-forwarded-for": "10.0.0.1, 127.0.0.1",
      "x-forwarded-proto": "http",
      forwarded: "for=10.0.0.1;host=hello.default.localhost:8080;proto=http, for=127.0.0.1",
      "x-own": "kept",
    });
    for (const name of ["te", "weft-attempt", "weft-instance-token"]) expect(seen).not.toHaveProperty(name);
    expect((await get("hello.default.svc.cluster.local")).status).toBe(200);
  });

  test.each([
    { host: "127.0.0.1:8080", status: 421, text: "not a function" },
    { host: "localhost:8080", status: 421, text: "not a function" },
    { host: "gone.default.localhost", status: 404, text: "Error getting active endpoint" },
  ])("must answer $status to $host", async (row) => {
    await start({ poolSize: 0 });
    await listen();
    const answer = await get(row.host);
    expect(answer.status).toBe(row.status);
    expect(answer.text).toContain(row.text);
  });

  test("must answer 504 when the service's timeout has passed", async () => {
    await start();
    await apply("export default { fetch: () => new Promise(() => {}) };", { timeoutSeconds: 1 });
    await listen();
    expect(await get("hello.default.localhost")).toMatchObject({
      status: 504,
      text: "activator request timeout",
    });
  });

  test("must answer 503 with Retry-After when the function does not start, 502 when it breaks off", async () => {
    await start();
    await apply("export function init() { throw new Error('no'); } export default () => {};");
    await listen();
    expect(await get("hello.default.localhost")).toMatchObject({
      status: 503,
      headers: { "retry-after": "1" },
    });
    await apply("export default () => process.kill(process.pid, 'SIGKILL');");
    expect((await get("hello.default.localhost")).status).toBe(502);
  });

  test("must answer network probes without waking anything", async () => {
    const clock = new FakeClock();
    await start({ clock });
    await apply(echoPid);
    await advanceUntil(clock, () => pids().length === 0);
    await listen();
    const probe = (value: string) =>
      get("hello.default.localhost", { headers: { "k-network-probe": value } });
    expect([
      (await probe("probe")).status,
      (await probe("activator")).text,
      (await probe("x")).status,
    ]).toEqual([200, "activator", 400]);
    expect(pids()).toEqual([]);
  });
});

describe("the example functions", () => {
  test("must price an order and invoice it, and refuse what they do not know", async () => {
    await start();
    for (const name of ["price", "invoice"]) {
      const source = await readFile(new URL(`../../functions/${name}.ts`, import.meta.url), "utf8");
      expect(await apply(source, { name })).toMatchObject({ ready: true });
    }
    const price = { namespace: "default", name: "price" };
    const order = (sku: string) => ({ order: "A-1", customer: "Ada", lines: [{ sku, quantity: 2 }] });
    const priced = JSON.parse(await call(order("TEA-100"), price));
    expect(priced).toMatchObject({ netCents: 1780, vatCents: 356, totalCents: 2136 });
    expect(await call(priced, { namespace: "default", name: "invoice" })).toContain("INV-A-1");
    const printed = () => lines.map(({ line }) => line).join("\n");
    await until(() => /Invoice INV-A-1 for Ada[\s\S]*Total +21\.36/.test(printed()), {
      what: "the invoice is printed",
    });
    expect(await call(order("TEA-999"), price)).toMatch(/^500 .*Unknown SKU/);
    expect(await call({ order: "A-2" }, price)).toMatch(/^422 /);
  });
});
