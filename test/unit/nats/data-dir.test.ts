import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { openDataDir } from "../../../src/mesh/nats/data-dir.ts";
import { until } from "../../support/until.ts";
import { endHolders, hold, isRunning } from "./holding.ts";

let root: string;
let path: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-dir-"));
  path = join(root, "a", ".weft");
});
afterEach(async () => {
  endHolders();
  await rm(root, { recursive: true, force: true });
});

async function modeOf(file: string): Promise<string> {
  return ((await stat(file)).mode & 0o777).toString(8);
}

test("openDataDir creates the directory for this user alone", async () => {
  const dir = await openDataDir(path, systemClock);
  expect(await modeOf(path)).toBe("700");
  expect(await modeOf(join(path, "lock"))).toBe("600");
  await dir.close();
  expect(await readdir(path)).toEqual([]);
});

test("openDataDir closes an existing directory to others", async () => {
  await mkdir(path, { recursive: true, mode: 0o755 });
  const dir = await openDataDir(path, systemClock);
  expect(await modeOf(path)).toBe("700");
  await dir.close();
});

test("openDataDir resolves symbolic links, so that one directory has one name", async () => {
  await mkdir(path, { recursive: true });
  await symlink(path, join(root, "link"));
  const dir = await openDataDir(join(root, "link"), systemClock);
  expect(dir.file("store")).toBe(join(await realpath(path), "nats"));
  await expect(openDataDir(path, systemClock)).rejects.toMatchObject({ code: "DATA_DIR_LOCKED" });
  await dir.close();
});

test("openDataDir refuses a path that cannot be a directory", async () => {
  await writeFile(join(root, "file"), "");
  await expect(openDataDir(join(root, "file", "x"), systemClock)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("--data-dir"),
  });
});

test("openDataDir refuses a directory held by a live process and names it", async () => {
  const holder = await hold("dir", path);
  expect(holder.held).toBe(true);
  await expect(openDataDir(path, systemClock)).rejects.toMatchObject({
    code: "DATA_DIR_LOCKED",
    message: expect.stringMatching(new RegExp(`process ${holder.pid}\\b.*--data-dir`)),
  });
  expect(isRunning(holder.pid)).toBe(true);
});

test("openDataDir takes over from a holder that was killed", async () => {
  const holder = await hold("dir", path);
  process.kill(holder.pid, "SIGKILL");
  await until(() => !isRunning(holder.pid));
  const dir = await openDataDir(path, systemClock);
  expect(JSON.parse(await readFile(dir.file("lock"), "utf8")).pid).toBe(process.pid);
  await dir.close();
});

test.each([
  ["whose pid another process has now", JSON.stringify({ pid: process.pid, started: "another time" })],
  ["that is not ours to read", "garbage"],
  ["that is empty", ""],
])("openDataDir breaks a lock %s", async (_, content) => {
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "lock"), content);
  const dir = await openDataDir(path, systemClock);
  expect((await readdir(path)).sort()).toEqual(["lock"]);
  await dir.close();
});

test("openDataDir gives a stale lock to exactly one of many contenders", async () => {
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "lock"), JSON.stringify({ pid: 1, started: "long ago" }));
  const outcomes = await Promise.all([1, 2, 3, 4, 5].map(() => hold("dir", path)));
  expect(outcomes.filter(({ held }) => held)).toHaveLength(1);
  const refused = outcomes.filter(({ refused }) => refused === "DATA_DIR_LOCKED");
  expect(refused).toHaveLength(4);
});

test("openDataDir gives a stale lock to exactly one of many contenders in one process", async () => {
  await mkdir(path, { recursive: true });
  for (let round = 0; round < 20; round++) {
    await writeFile(join(path, "lock"), JSON.stringify({ pid: 1, started: `round ${round}` }));
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => openDataDir(path, systemClock)));
    const won = results.filter((result) => result.status === "fulfilled");
    expect(won).toHaveLength(1);
    await won[0]?.value.close();
  }
  expect(await readdir(path)).toEqual([]);
});

test("openDataDir overrules a contender that was killed while it broke a stale lock", async () => {
  await mkdir(path, { recursive: true });
  const stale = JSON.stringify({ pid: 1, started: "long ago" });
  await writeFile(join(path, "lock"), stale);
  const tombstone = join(path, `lock.dead-${createHash("sha256").update(stale).digest("hex")}`);
  await writeFile(tombstone, stale);
  const late = { ...systemClock, now: () => systemClock.now() + 60_000 };
  const dir = await openDataDir(path, late);
  expect(await readdir(path)).toEqual(["lock"]);
  await dir.close();
});

test("DataDir writeSecret replaces a file that only this user can read", async () => {
  const dir = await openDataDir(path, systemClock);
  await dir.writeSecret("url", "one");
  await dir.writeSecret("url", "two");
  expect(await readFile(join(path, "nats.url"), "utf8")).toBe("two");
  expect(await modeOf(join(path, "nats.url"))).toBe("600");
  expect((await readdir(path)).sort()).toEqual(["lock", "nats.url"]);
  await dir.close();
});

test("DataDir wipe removes what weft put there and leaves foreign files", async () => {
  const dir = await openDataDir(path, systemClock);
  await mkdir(join(path, "nats", "jetstream"), { recursive: true });
  for (const name of ["nats.log", "nats.log.2026.01.01", "nats.conf", "notes.txt", "nats.logbook"]) {
    await writeFile(join(path, name), name);
  }
  await dir.wipe();
  expect((await readdir(path)).sort()).toEqual(["lock", "nats.logbook", "notes.txt"]);
  await dir.close();
});

test("DataDir close is idempotent and does not take the lock of the next holder", async () => {
  const first = await openDataDir(path, systemClock);
  await first.close();
  const second = await openDataDir(path, systemClock);
  await first.close();
  await expect(openDataDir(path, systemClock)).rejects.toMatchObject({ code: "DATA_DIR_LOCKED" });
  await second.close();
});
