import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Clock, FakeClock, systemClock } from "../../../src/mesh/clock.ts";
import { type ManifestWatch, watchManifests } from "../../../src/mesh/control/watch.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { BROKER, TRIGGER } from "../../../src/mesh/resources/kinds.ts";
import { createMemoryStore } from "../../../src/mesh/store/memory.ts";
import type { Store } from "../../../src/mesh/store/store.ts";
import { until } from "../../support/until.ts";
import { makeBroker, makeTrigger } from "./fakes.ts";

describe("watchManifests", () => {
  let folder: string;
  let root: string;
  let store: Store;
  let watching: ManifestWatch | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "weft-manifests-"));
    root = join(folder, "knative");
    await mkdir(root);
    store = createMemoryStore();
  });
  afterEach(async () => {
    await watching?.close();
    watching = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  const start = async (clock: Clock = new FakeClock(), roots = [root]) => {
    watching = await watchManifests({ roots, store, clock, log: silentLog });
    return watching;
  };
  const write = (file: string, ...objects: unknown[]) =>
    writeFile(join(root, file), objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  const names = () =>
    [BROKER, TRIGGER].flatMap((kind) => store.list(kind).items.map(({ metadata }) => metadata.name));

  test("applies what is there, sub-folders included, hidden and ignored ones not", async () => {
    await write("a.yaml", makeTrigger("t"));
    for (const [sub, file] of [
      ["sub", "b.yml"],
      [".hidden", "c.yaml"],
      ["install", "d.yaml"],
    ] as const) {
      await mkdir(join(root, sub));
      await write(join(sub, file), makeBroker(sub.replace(".", "")));
    }
    await writeFile(join(root, "install", ".weftignore"), "");
    await writeFile(join(root, "notes.txt"), "not yaml: [");
    const watch = await start();
    expect(names()).toEqual(["sub", "t"]);
    expect(watch.rejected()).toEqual([]);
  });

  test("deletes what vanished from a file, and with the file", async () => {
    await write("a.yaml", makeBroker("a"), makeBroker("b"));
    await write("c.yaml", makeBroker("c"));
    const watch = await start();
    await write("a.yaml", makeBroker("a"));
    await watch.scan();
    expect(names()).toEqual(["a", "c"]);
    await rm(join(root, "c.yaml"));
    await watch.scan();
    expect(names()).toEqual(["a"]);
  });

  test("deletes nothing because of a file that does not parse, and applies it when it does again", async () => {
    await write("a.yaml", makeBroker("a"), makeBroker("b"));
    const watch = await start();
    await writeFile(join(root, "a.yaml"), "a: [");
    await watch.scan();
    expect(names()).toEqual(["a", "b"]);
    expect(watch.rejected()).toEqual([expect.objectContaining({ file: join(root, "a.yaml"), line: 1 })]);
    await write("a.yaml", makeBroker("a"), makeTrigger("bad", { broker: "" }));
    await watch.scan();
    expect(names()).toEqual(["a", "b"]);
    await write("a.yaml", makeBroker("a"));
    await watch.scan();
    expect(names()).toEqual(["a"]);
    expect(watch.rejected()).toEqual([]);
  });

  test("keeps an object whose document moved to another file", async () => {
    await write("a.yaml", makeBroker("a"));
    const watch = await start();
    const { uid } = store.list(BROKER).items[0]?.metadata ?? {};
    await rename(join(root, "a.yaml"), join(root, "b.yaml"));
    await watch.scan();
    expect(store.list(BROKER).items[0]?.metadata).toMatchObject({
      uid,
      annotations: { "weft.dev/manifest": join(root, "b.yaml") },
    });
  });

  test("deletes at the start what vanished while nothing was running, but only of its own roots", async () => {
    await write("a.yaml", makeBroker("a"), makeBroker("b"));
    const other = join(folder, "other.yaml");
    await writeFile(other, JSON.stringify(makeBroker("o")));
    await (await start(undefined, [root, other])).close();
    await store.create(BROKER, makeBroker("by-hand"));
    await write("a.yaml", makeBroker("a"));
    await start();
    expect(names()).toEqual(["a", "by-hand", "o"]);
  });

  test("deletes nothing when a root is gone altogether", async () => {
    await write("a.yaml", makeBroker("a"));
    const watch = await start();
    await rm(root, { recursive: true });
    await watch.scan();
    expect(names()).toEqual(["a"]);
  });

  test("leaves alone what the API changed or deleted while the file stays", async () => {
    await write("a.yaml", makeBroker("a"), makeBroker("b"));
    const watch = await start();
    await store.delete(BROKER, { namespace: "default", name: "b" });
    await watch.scan();
    expect(names()).toEqual(["a"]);
  });

  test("names the second of two documents for one object, and applies it when the first is gone", async () => {
    await write("a.yaml", makeBroker("x", { delivery: { retry: 1 } }));
    await write("b.yaml", makeBroker("x", { delivery: { retry: 2 } }));
    const watch = await start();
    expect(watch.rejected()).toEqual([
      expect.objectContaining({
        file: join(root, "b.yaml"),
        message: `Broker default/x is already declared in ${join(root, "a.yaml")}:1`,
      }),
    ]);
    await rm(join(root, "a.yaml"));
    await watch.scan();
    expect(watch.rejected()).toEqual([]);
    expect(store.list(BROKER).items[0]?.spec).toEqual({ delivery: { retry: 2 } });
  });

  test("tries a refused document again with the next scan", async () => {
    await write("a.yaml", makeTrigger("t", { broker: "new" }));
    await store.create(TRIGGER, makeTrigger("t"));
    const watch = await start();
    expect(watch.rejected()).toEqual([
      expect.objectContaining({ kind: "Trigger", name: "t", message: expect.stringContaining("Immutable") }),
    ]);
    await store.delete(TRIGGER, { namespace: "default", name: "t" });
    await watch.scan();
    expect(watch.rejected()).toEqual([]);
    expect(store.list(TRIGGER).items[0]?.spec).toMatchObject({ broker: "new" });
  });

  test("finds a root that appears later by rescanning", async () => {
    const clock = new FakeClock();
    const late = join(folder, "late");
    await start(clock, [late]);
    await mkdir(late);
    await writeFile(join(late, "a.yaml"), JSON.stringify(makeBroker("a")));
    await clock.advance(5_000);
    await until(() => names().includes("a"));
  });

  test.each(["knative", "knative/a.yaml"])("follows changes under the root %s", async (path) => {
    await write("a.yaml", makeBroker("a"));
    await start(systemClock, [join(folder, path)]);
    await write("a.yaml", makeBroker("a"), makeBroker("b"));
    await until(() => names().includes("b"), { what: "the change is applied" });
  });
});
