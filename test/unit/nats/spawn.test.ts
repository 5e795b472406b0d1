import { expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { signal } from "../../../src/mesh/nats/processes.ts";
import { run } from "../../../src/mesh/nats/spawn.ts";

function shell(script: string, timeoutMs = 20_000) {
  return run("/bin/sh", ["-c", script], { clock: systemClock, timeoutMs });
}

test.each([
  ["echo fine", undefined, "fine\n"],
  ["echo out; echo err >&2; exit 3", "(exit 3)", undefined],
  ["exit 4", "no output (exit 4)", ""],
  ["kill -9 $$", "no output (exit SIGKILL)", ""],
])("run reports what became of %j", async (script, failure, output) => {
  const result = await shell(script);
  if (failure === undefined) expect(result.failure).toBeUndefined();
  else expect(result.failure).toContain(failure);
  if (output !== undefined) expect(result.output).toBe(output);
});

test("run reports a program that does not exist", async () => {
  const result = await run("/nowhere/program", [], { clock: systemClock, timeoutMs: 1000 });
  expect(result.failure).toContain("ENOENT");
});

test("run ends at its time limit although a child of the program keeps the output open", async () => {
  const result = await shell("setsid sleep 600 & echo $!; sleep 600", 300);
  signal(Number(result.output), "SIGKILL");
  expect(result.failure).toBe("no end within 0.3 s");
});

test("run keeps only the end of what a program writes", async () => {
  const { output } = await shell("head -c 1000000 /dev/zero | tr '\\0' x; echo end");
  expect(output).toMatch(/^x+end\n$/);
  expect(output.length).toBeLessThanOrEqual(64 * 1024);
});

test("run kills at once when stopped before it began", async () => {
  const signal = AbortSignal.abort();
  const result = await run("/bin/sleep", ["600"], { clock: systemClock, timeoutMs: 600_000, signal });
  expect(result.failure).toBe("stopped");
});
