import { spawn } from "node:child_process";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { commandLine, endsWithin, signal, startedAt } from "../../../src/mesh/nats/processes.ts";
import { until } from "../../support/until.ts";

let root: string;
let pid: number;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-process-"));
  // A name made to mislead whoever splits the process table at blanks or parentheses.
  await symlink("/bin/sleep", join(root, "a) Z 1"));
  pid = spawn(join(root, "a) Z 1"), ["600"], { stdio: "ignore" }).pid ?? 0;
  await until(() => commandLine(pid, systemClock));
});
afterEach(async () => {
  signal(pid, "SIGKILL");
  await rm(root, { recursive: true, force: true });
});

test("startedAt tells one process from another and stays the same", async () => {
  const started = await startedAt(pid, systemClock);
  expect(started).toBeDefined();
  expect(await startedAt(pid, systemClock)).toBe(started);
  expect(await startedAt(process.pid, systemClock)).not.toBe(started);
});

test("commandLine shows the arguments", async () => {
  expect(await commandLine(pid, systemClock)).toBe(`${root}/a) Z 1 600`);
});

test("endsWithin tells whether a process ended, and then nothing is known of it", async () => {
  expect(await endsWithin(pid, 20, systemClock)).toBe(false);
  expect(signal(pid, "SIGTERM")).toBe(true);
  expect(await endsWithin(pid, 15_000, systemClock)).toBe(true);
  expect(await startedAt(pid, systemClock)).toBeUndefined();
  await until(() => !signal(pid, "SIGTERM"));
});
