/**
 * What a reviewer would say twice: who may import whom, one door per side effect, names, nothing left over.
 * A new folder or a new direction is a line in `mayImport`; a new door needs a reason beside it.
 */
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readSources, type SourceFile } from "./support/sources.ts";

const sources = readSources("src");
const mesh = sources.filter(({ path }) => path.startsWith("src/mesh/"));
const byPath = new Map(sources.map((source) => [source.path, source]));

/** Every room may also use these; they use only each other. */
const foundation: readonly string[] = ["clock", "duration", "errors", "lifecycle", "log"];

/** A room is a folder of src/mesh with its subfolders, or a file beside them. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  event: [],
  filter: ["event"],
  routes: ["event", "filter"],
  nats: [],
  // What is spoken on the events' way in and out; it knows nothing of events.
  http1: [],
  stream: ["event", "filter", "routes", "nats"],
  journal: ["event", "stream", "nats"],
  reply: ["event", "stream"],
  ingress: ["event", "routes", "stream", "journal", "reply", "http1"],
  dispatch: ["event", "filter", "routes", "stream", "journal", "reply", "http1"],
  resources: [],
  store: ["resources", "nats"],
  control: ["resources", "store", "routes"],
  host: [],
  sdk: ["event"],
  listen: ["http1"],
  config: [],
  // What people and tools ask of both planes; only mesh imports it.
  console: ["event", "filter", "routes", "stream", "journal", "dispatch", "resources", "store", "control"],
  // One function host, as the control plane and the dispatcher each see it.
  functions: ["control", "dispatch", "host"],
  // The functions folder, as the host and the control plane's Services follow it.
  "function-folder": ["host"],
  // The data plane as a whole process has it; only what runs one imports it.
  plane: ["config", "nats", "stream", "routes", "journal", "reply", "ingress", "dispatch"],
  // More processes for ingress and dispatch: how many, kept running, what is said to them.
  workers: ["config", "journal"],
  // The composition root of such a process, and its executable.
  worker: [
    ...["workers", "plane", "listen", "nats", "stream", "routes", "journal", "ingress", "dispatch", "host"],
    "console",
  ],
  "worker-main": ["worker", "workers"],
  mesh: [
    ...[
      "workers",
      "plane",
      "config",
      "listen",
      "event",
      "filter",
      "routes",
      "nats",
      "stream",
      "journal",
      "reply",
    ],
    ...[
      "ingress",
      "dispatch",
      "resources",
      "store",
      "control",
      "host",
      "functions",
      "function-folder",
      "console",
    ],
  ],
  cli: ["config", "event", "filter", "host", "journal", "mesh", "nats", "workers"],
  main: ["cli"],
};

const planes = {
  data: ["ingress", "dispatch", "reply"],
  control: ["store", "control"],
};

function roomOf(path: string): string {
  return path.replace(/^src\/mesh\//, "").replace(/\/.*|\.ts$/, "");
}

describe("imports", () => {
  test("every room of src/mesh is in the table, and nothing else is", () => {
    const rooms = [...new Set(mesh.map(({ path }) => roomOf(path)))];
    expect(rooms.sort()).toEqual([...foundation, ...Object.keys(mayImport)].sort());
  });

  test.each([...foundation, ...Object.keys(mayImport)])("%s imports only what it may", (room) => {
    const allowed = new Set([room, ...foundation, ...(mayImport[room] ?? [])]);
    const forbidden = mesh
      .filter(({ path }) => roomOf(path) === room)
      .flatMap(({ path, imports }) =>
        imports.filter((to) => !allowed.has(roomOf(to))).map((to) => `${path} → ${to}`),
      );
    expect(forbidden).toEqual([]);
  });

  test("all go to files that exist, with their extension", () => {
    const missing = sources.flatMap(({ path, imports }) =>
      imports.filter((to) => !byPath.has(to)).map((to) => `${path} → ${to}`),
    );
    expect(missing).toEqual([]);
  });

  test("have no cycles between files", () => {
    expect(findCycle(mesh)).toEqual([]);
  });

  test.each([
    ["data", planes.data, planes.control],
    ["control", planes.control, planes.data],
  ])("of the %s plane never lead to the other one", (_name, from, to) => {
    const starts = mesh.filter(({ path }) => from.includes(roomOf(path)));
    const crossed = reachable(starts).filter((path) => to.includes(roomOf(path)));
    expect(crossed).toEqual([]);
  });
});

interface Door {
  readonly name: string;
  /** What opens it, in code without comments. */
  readonly pattern: RegExp;
  readonly files: readonly string[];
}

const doors: readonly Door[] = [
  {
    name: "deliveries are acknowledged",
    pattern: /"[+]ACK|"-NAK|`-NAK|"[+]WPI|"[+]TERM|"[+]NXT|\.(?:ack|ackAck|nak|term)\(/,
    files: ["src/mesh/dispatch/settle.ts"],
  },
  {
    name: "NATS subjects, streams, consumers and buckets are named",
    pattern: /["`](?:weft\.(?:ev|dl|rd|at|log|count)\b|weft-(?:ev|dl|rd|at|log)-|\$KV\.|\$O\.|\$JS\.API)/,
    files: ["src/mesh/stream/subjects.ts"],
  },
  {
    name: "the environment is read",
    pattern: /\bprocess\.env\b/,
    // A function sees its own environment, not the mesh's: the runner replaces it.
    files: ["src/mesh/main.ts", "src/mesh/sdk/server.ts", "src/weft.js"],
  },
  {
    name: "processes are started",
    pattern: /"node:child_process"|"node:cluster"/,
    // The `weft` command changes to a newer Node.js when it has to; `dead redrive --edit` opens the user's editor.
    // A worker process has ingress and dispatch once more.
    files: [
      "src/mesh/cli/editor.ts",
      "src/mesh/host/instance.ts",
      "src/mesh/nats/spawn.ts",
      "src/mesh/workers/worker-process.ts",
      "src/weft.js",
    ],
  },
  {
    name: "threads are started",
    pattern: /"node:worker_threads"/,
    // Inside a function's process: a watchdog for when its main thread is stuck.
    files: ["src/mesh/sdk/server.ts", "src/mesh/sdk/watchdog.ts"],
  },
  {
    name: "time is read and waited for",
    pattern:
      /\bDate\.now\b|new Date\(\)|\bset(?:Timeout|Interval)\(|\bperformance\.now\b|AbortSignal\.timeout|"node:timers|"node:perf_hooks"/,
    files: ["src/mesh/clock.ts"],
  },
];

describe("doors", () => {
  test.each(doors)("$name only where it is written here", ({ pattern, files }) => {
    const found = sources.filter(({ code }) => pattern.test(code)).map(({ path }) => path);
    expect(found).toEqual([...files].sort());
  });
});

/** Where reading starts: the executable, what function authors import, and the Store that tests use. */
const entries = ["src/mesh/main.ts", "src/mesh/sdk/sdk.ts", "src/mesh/store/memory.ts"];

describe("files", () => {
  test("are named after what they hold", () => {
    const vague = /^(?:utils?|common|helpers?|types|constants|index|misc|shared|lib)\./;
    const names = mesh.map(({ path }) => path).filter((path) => vague.test(basename(path)));
    expect(names).toEqual([]);
  });

  test("are lower case, words joined by -", () => {
    expect(mesh.map(({ path }) => path).filter((path) => !/^[a-z0-9/-]+\.ts$/.test(path))).toEqual([]);
  });

  test("open with what they own", () => {
    const silent = mesh.filter(({ text }) => !/^(?:import [^;]*;\s*)*\/\*\*/.test(text));
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  test("are all in use", () => {
    const used = new Set(reachable(entries.map(sourceOf)));
    expect(mesh.map(({ path }) => path).filter((path) => !used.has(path))).toEqual([]);
  });

  test("leave nothing to do later", () => {
    const later = sources.filter(({ text }) => /\b(?:TODO|FIXME|XXX)\b/.test(text));
    expect(later.map(({ path }) => path)).toEqual([]);
  });
});

function sourceOf(path: string): SourceFile {
  const source = byPath.get(path);
  if (source === undefined) throw new Error(`${path} is not there`);
  return source;
}

/** Paths of these files and of everything they lead to. */
function reachable(from: readonly SourceFile[]): string[] {
  const seen = new Set<string>();
  const visit = (source: SourceFile) => {
    if (seen.has(source.path)) return;
    seen.add(source.path);
    for (const path of [...source.imports, ...source.starts]) visit(sourceOf(path));
  };
  for (const source of from) visit(source);
  return [...seen];
}

/** The files of one cycle, its first again at the end; empty when there is none. */
function findCycle(from: readonly SourceFile[]): string[] {
  const done = new Set<string>();
  const visit = (source: SourceFile, way: readonly string[]): string[] => {
    const at = way.indexOf(source.path);
    if (at >= 0) return [...way.slice(at), source.path];
    if (done.has(source.path)) return [];
    for (const path of source.imports) {
      const cycle = visit(sourceOf(path), [...way, source.path]);
      if (cycle.length > 0) return cycle;
    }
    done.add(source.path);
    return [];
  };
  for (const source of from) {
    const cycle = visit(source, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}
