import { execFile, spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { type Log, silentLog } from "../../../src/mesh/log.ts";
import { connectNats } from "../../../src/mesh/nats/connection.ts";
import { openDataDir } from "../../../src/mesh/nats/data-dir.ts";
import { type NatsOptions, type NatsServer, startNats } from "../../../src/mesh/nats/launcher.ts";
import { until } from "../../support/until.ts";
import { endHolders, hold, isRunning, membersOf, processGroup } from "./holding.ts";

let root: string;
let path: string;
let lines: string[];
let started: CloseStack;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-launch-"));
  path = join(root, "data");
  lines = [];
  started = new CloseStack();
});
afterEach(async () => {
  await started.close();
  endHolders();
  await rm(root, { recursive: true, force: true });
});

const binaryDir = () => dirname(inject("natsBinary"));

/** Starts on the data directory of this test; both are closed after it at the latest. */
async function start(more: Partial<NatsOptions> = {}): Promise<NatsServer> {
  const dataDir = more.dataDir ?? started.use("dir", await openDataDir(path, systemClock));
  const server = await startNats({
    dataDir,
    cacheDir: join(root, "cache"),
    path: binaryDir(),
    durability: "process",
    reset: false,
    clock: systemClock,
    log: silentLog,
    say: (line) => lines.push(line),
    ...more,
  });
  return started.use("server", server);
}

async function connectTo(target: NatsServer["target"]) {
  return started.use(
    "connection",
    await connectNats(target, { name: "test", clock: systemClock, log: silentLog }),
  );
}

/** Stores one event and returns a reader of how many there are. */
async function store(server: NatsServer) {
  const { nc } = await connectTo(server.target);
  await (await jetstreamManager(nc)).streams.add({ name: "S", subjects: ["s"] });
  await jetstream(nc).publish("s", "kept");
}

async function stored(server: NatsServer): Promise<number> {
  const { nc } = await connectTo(server.target);
  return (await (await jetstreamManager(nc)).streams.info("S")).state.messages;
}

const modeOf = async (file: string) => ((await stat(file)).mode & 0o777).toString(8);

test("startNats has the server take no core from who is at work, where the system lets it be said", async () => {
  const call = (...args: string[]) => promisify(execFile)("chrt", args);
  const isPossible = await call("-b", "0", "true").then(
    () => true,
    () => false,
  );
  const server = await start();
  const policy = await call("-p", `${server.pidNow()}`).then(
    ({ stdout }) => stdout,
    () => "",
  );
  expect(policy.includes("SCHED_BATCH")).toBe(isPossible);
});

test("startNats runs a private server on loopback and ends it without a trace", async () => {
  const server = await start();
  const pid = server.pidNow() ?? 0;
  expect(server).toMatchObject({
    owned: true,
    safeUrl: expect.stringMatching(/^nats:\/\/\*\*\*@127\.0\.0\.1:\d+$/),
  });
  expect(server.url).toMatch(/^nats:\/\/[\w-]{32}@127\.0\.0\.1:\d+$/);
  expect(await readFile(join(path, "nats.url"), "utf8")).toBe(`${server.url}\n`);
  expect(await modeOf(join(path, "nats.url"))).toBe("600");
  expect(await modeOf(join(path, "nats.conf"))).toBe("600");
  expect(await modeOf(join(path, "nats"))).toBe("700");
  expect(await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "nats-server\n")).toBe("nats-server\n");
  const group = processGroup(pid);
  await server.close();
  await server.close();
  expect(isRunning(pid)).toBe(false);
  await until(() => membersOf(group).length === 0);
  expect((await readdir(path)).sort()).toEqual(["lock", "nats", "nats.conf", "nats.log"]);
});

test("startNats tells nobody the token", async () => {
  const logged: string[] = [];
  const note = (fields: Record<string, unknown>, text: string) => {
    logged.push(JSON.stringify(fields) + text);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  const server = await start({ log });
  const before = server.pidNow() ?? 0;
  process.kill(before, "SIGKILL");
  await until(() => server.pidNow() !== before && server.pidNow());
  await until(() => logged.some((line) => line.includes("runs again")));
  const token = new URL(server.url).username;
  const { stdout: commands } = await promisify(execFile)("ps", ["-A", "-o", "args="]);
  const serverLog = await readFile(join(path, "nats.log"), "utf8");
  for (const text of [...lines, ...logged, commands, serverLog, server.safeUrl]) {
    expect(text).not.toContain(token);
  }
});

test("startNats lets nobody in without the token", async () => {
  const server = await start();
  const { host } = new URL(server.url);
  for (const url of [`nats://${host}`, `nats://wrong@${host}`]) {
    await expect(connectTo({ url })).rejects.toMatchObject({
      code: "NATS_UNREACHABLE",
      message: expect.stringMatching(/authorization violation.*credentials/i),
    });
  }
});

test("startNats accepts 8 MiB payloads and keeps the store between runs", async () => {
  const first = await start();
  await store(first);
  const { nc } = await connectTo(first.target);
  expect(nc.info?.max_payload).toBe(8 * 1024 * 1024);
  await started.close();
  started = new CloseStack();
  expect(await stored(await start())).toBe(1);
});

test("startNats with reset forgets what was stored, and nothing else in the directory", async () => {
  await store(await start());
  await started.close();
  started = new CloseStack();
  await writeFile(join(path, "notes.txt"), "mine");
  const server = await start({ reset: true });
  await expect(stored(server)).rejects.toThrow(/stream not found/);
  expect(await readFile(join(path, "notes.txt"), "utf8")).toBe("mine");
});

test("startNats with durability power has the server sync every write", async () => {
  await start({ durability: "power" });
  expect(await readFile(join(path, "nats.conf"), "utf8")).toContain("sync_interval: always");
});

test("startNats works in a directory whose name needs quoting", async () => {
  path = join(root, 'my "own" $dir');
  const server = await start();
  expect(server.pidNow()).toBeGreaterThan(0);
});

test("EmbeddedServer brings a killed server back on the same address with what it stored", async () => {
  const server = await start();
  await store(server);
  const connection = await connectTo(server.target);
  const heard: string[] = [];
  connection.onDisconnect(() => heard.push("lost"));
  connection.onReconnect(() => heard.push("back"));
  const before = server.pidNow() ?? 0;
  process.kill(before, "SIGKILL");
  await until(() => heard.length === 2);
  expect(heard).toEqual(["lost", "back"]);
  expect(connection.isConnected()).toBe(true);
  expect(server.pidNow()).not.toBe(before);
  expect(await stored(server)).toBe(1);
});

test("EmbeddedServer keeps one server on the store when the guard is killed instead", async () => {
  const server = await start();
  const before = server.pidNow() ?? 0;
  const guards = membersOf(processGroup(before)).filter((pid) => pid !== before);
  for (const pid of guards) process.kill(pid, "SIGKILL");
  await until(() => server.pidNow() !== before && server.pidNow());
  expect(isRunning(before)).toBe(false);
});

test("EmbeddedServer close during a restart leaves nothing running", async () => {
  const server = await start();
  const group = processGroup(server.pidNow() ?? 0);
  process.kill(server.pidNow() ?? 0, "SIGKILL");
  await until(() => server.pidNow() === undefined);
  await server.close();
  expect(server.pidNow()).toBeUndefined();
  await until(() => membersOf(group).length === 0);
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "args="]);
  expect(stdout).not.toContain(path);
});

test("EmbeddedServer does not outlive a weft that was killed, and the next start works", async () => {
  const { pid, serverPid = 0, url = "" } = await hold("server", path, binaryDir());
  const connection = await connectTo({ url });
  await (await jetstreamManager(connection.nc)).streams.add({ name: "S", subjects: ["s"] });
  await jetstream(connection.nc).publish("s", "kept");
  const group = processGroup(serverPid);
  process.kill(pid, "SIGKILL");
  await until(() => !isRunning(serverPid));
  await until(() => membersOf(group).length === 0);
  expect(await stored(await start())).toBe(1);
});

test("EmbeddedServer sits in a session that Ctrl-C in weft's terminal does not reach", async () => {
  const { pid, serverPid = 0 } = await hold("server", path, binaryDir());
  expect(processGroup(serverPid)).not.toBe(processGroup(pid));
});

test("startNats ends the server that an earlier weft left behind when nothing else did", async () => {
  const { pid, serverPid = 0 } = await hold("server", path, binaryDir());
  process.kill(pid, "SIGSTOP");
  for (const guard of membersOf(processGroup(serverPid))) {
    if (guard !== serverPid) process.kill(guard, "SIGKILL");
  }
  process.kill(pid, "SIGKILL");
  await until(() => !isRunning(pid));
  expect(isRunning(serverPid)).toBe(true);
  const server = await start();
  expect(isRunning(serverPid)).toBe(false);
  expect(isRunning(server.pidNow() ?? 0)).toBe(true);
});

test("startNats leaves alone a process that only has the pid of an old server", async () => {
  const stranger = spawn("sleep", ["600"], { stdio: "ignore" });
  started.defer("stranger", () => void stranger.kill("SIGKILL"));
  const dataDir = started.use("dir", await openDataDir(path, systemClock));
  await writeFile(join(path, "nats.pid"), String(stranger.pid));
  await start({ dataDir });
  expect(isRunning(stranger.pid ?? 0)).toBe(true);
});

test("startNats says why the server did not start and leaves nothing running", async () => {
  const dir = await mkdtemp(join(root, "bin-"));
  const script = `#!/bin/sh\n[ "$1" = --version ] && echo nats-server: v2.15.1 && exit\necho "bad luck" >&2\nexit 7\n`;
  await writeFile(join(dir, "nats-server"), script);
  await chmod(join(dir, "nats-server"), 0o755);
  await expect(start({ path: dir })).rejects.toMatchObject({
    code: "NATS_START_FAILED",
    message: expect.stringContaining("bad luck"),
  });
  expect((await readdir(path)).sort()).toEqual(["lock", "nats", "nats.conf"]);
});

test("startNats says what the server logged when it refused its store", async () => {
  const dataDir = started.use("dir", await openDataDir(path, systemClock));
  await mkdir(dataDir.file("store"));
  await writeFile(join(dataDir.file("store"), "jetstream"), "a file where a folder belongs");
  await expect(start({ dataDir })).rejects.toMatchObject({
    code: "NATS_START_FAILED",
    message: expect.stringMatching(/JetStream.*See .*nats\.log$/),
  });
});

test("startNats uses an external server without starting one", async () => {
  const own = await start();
  const other = await openDataDir(join(root, "other"), systemClock);
  started.use("other", other);
  const external = await start({ dataDir: other, external: own.target });
  expect(external).toMatchObject({ owned: false, safeUrl: own.safeUrl, version: own.version });
  expect(external.pidNow()).toBeUndefined();
  expect(lines.at(-1)).toBe(`nats: using ${own.safeUrl} (NATS_URL, version ${own.version})`);
  expect(await readdir(other.path)).toEqual(["lock"]);
  await external.close();
  expect(isRunning(own.pidNow() ?? 0)).toBe(true);
  await expect(start({ dataDir: other, external: own.target, reset: true })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
});

test("startNats refuses an external server that does not answer", async () => {
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  const port = typeof address === "object" ? address?.port : 0;
  await new Promise((resolve) => silent.close(resolve));
  const dataDir = started.use("dir", await openDataDir(path, systemClock));
  await expect(
    start({ dataDir, external: { url: `nats://s3cret@127.0.0.1:${port}` } }),
  ).rejects.toMatchObject({ code: "NATS_UNREACHABLE", message: expect.not.stringContaining("s3cret") });
});
