/** What every Store must do (S1–S4 of store/store.ts), run once per implementation. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BROKER, SERVICE, TRIGGER } from "../../src/mesh/resources/kinds.ts";
import { apiVersionOf, type KindId, type KubeObject } from "../../src/mesh/resources/meta.ts";
import { HISTORY_EVENTS_MAX } from "../../src/mesh/store/resource-cache.ts";
import type { Store, WatchEvent } from "../../src/mesh/store/store.ts";
import { until } from "../support/until.ts";

/** One place where objects live. */
export interface StoreHome {
  /** Another store over the same objects, as a second process would have it. */
  openAgain(): Promise<Store>;
  readonly store: Store;
  close(): Promise<void>;
}

export function makeObject(kind: KindId, name: string, more: Partial<KubeObject> = {}): KubeObject {
  const { metadata, ...rest } = more;
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: { name, namespace: "default", ...metadata },
    spec: { step: 0 },
    ...rest,
  };
}

const at = (name: string, namespace: string | undefined = "default") => ({ namespace, name });
const version = (object: { metadata: { resourceVersion?: string | undefined } }) =>
  Number(object.metadata.resourceVersion);
const brief = ({ type, object }: WatchEvent) => `${type} ${object.metadata.name} ${version(object)}`;

/** What an implementation can do beyond the contract. */
export interface StoreCapabilities {
  /** Objects outlive the store and are shared by several. */
  readonly isShared: boolean;
}

export function storeContract(
  name: string,
  { isShared }: StoreCapabilities,
  makeHome: () => Promise<StoreHome>,
): void {
  describe(`${name} as a Store`, () => {
    let home: StoreHome;
    let store: Store;

    beforeEach(async () => {
      home = await makeHome();
      store = home.store;
    });
    afterEach(() => home.close());

    describe("create", () => {
      test("fills in what the server owns and drops a submitted status", async () => {
        const made = await store.create(BROKER, {
          ...makeObject(BROKER, "b"),
          metadata: { name: "b", namespace: "default", uid: "mine", generation: 7, labels: { a: "1" } },
          status: { mine: true },
        });
        expect(made.metadata).toMatchObject({
          name: "b",
          namespace: "default",
          generation: 1,
          labels: { a: "1" },
        });
        expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
        expect(made.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        expect(version(made)).toBeGreaterThan(0);
        expect(made.status).toBeUndefined();
        expect(store.get(BROKER, at("b"))).toEqual(made);
      });

      test("rejects a taken name with ALREADY_EXISTS, also when two create at once", async () => {
        await store.create(BROKER, makeObject(BROKER, "b"));
        await expect(store.create(BROKER, makeObject(BROKER, "b"))).rejects.toMatchObject({
          code: "ALREADY_EXISTS",
        });
        const both = await Promise.allSettled([
          store.create(BROKER, makeObject(BROKER, "c")),
          store.create(BROKER, makeObject(BROKER, "c")),
        ]);
        expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      });

      test("makes a deleted name available again, as a new object", async () => {
        const first = await store.create(BROKER, makeObject(BROKER, "b"));
        await store.delete(BROKER, at("b"));
        const second = await store.create(BROKER, makeObject(BROKER, "b"));
        expect(second.metadata.uid).not.toBe(first.metadata.uid);
        expect(second.metadata.generation).toBe(1);
      });

      test("keeps kinds, namespaces and odd names apart", async () => {
        const names = ["a.b", "a_b", "a=2Eb"];
        for (const each of names) await store.create(BROKER, makeObject(BROKER, each));
        await store.create(TRIGGER, makeObject(TRIGGER, "a.b"));
        await store.create(BROKER, {
          ...makeObject(BROKER, "a.b"),
          metadata: { name: "a.b", namespace: "other" },
        });
        expect(store.list(BROKER, "default").items).toHaveLength(3);
        expect(store.list(BROKER).items).toHaveLength(4);
        expect(store.list(TRIGGER).items).toHaveLength(1);
      });

      test("does not share the caller's object", async () => {
        const spec = { list: [1] };
        await store.create(BROKER, makeObject(BROKER, "b", { spec }));
        spec.list.push(2);
        expect(store.get(BROKER, at("b"))?.spec).toEqual({ list: [1] });
      });
    });

    describe("list", () => {
      test("is ordered by namespace, then name, at one resourceVersion", async () => {
        for (const [namespace, each] of [
          ["b", "x"],
          ["a", "z"],
          ["a", "y"],
        ] as const) {
          await store.create(BROKER, { ...makeObject(BROKER, each), metadata: { name: each, namespace } });
        }
        const { items, resourceVersion } = store.list(BROKER);
        expect(items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
          "a/y",
          "a/z",
          "b/x",
        ]);
        expect(Number(resourceVersion)).toBeGreaterThanOrEqual(Math.max(...items.map(version)));
      });
    });

    describe("update", () => {
      test("raises resourceVersion always, generation only for what is outside metadata and status", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const labelled = await store.update(BROKER, {
          ...made,
          metadata: { ...made.metadata, labels: { a: "1" } },
        });
        expect(version(labelled)).toBeGreaterThan(version(made));
        expect(labelled.metadata.generation).toBe(1);
        const changed = await store.update(BROKER, { ...labelled, spec: { step: 1 } });
        expect(version(changed)).toBeGreaterThan(version(labelled));
        expect(changed.metadata.generation).toBe(2);
        expect(changed.metadata.uid).toBe(made.metadata.uid);
        expect(store.get(BROKER, at("b"))).toEqual(changed);
      });

      test("changes nothing when it is identical", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const events: WatchEvent[] = [];
        store.watch({ kind: BROKER }, (event) => events.push(event));
        expect(await store.update(BROKER, made)).toEqual(made);
        await store.create(BROKER, makeObject(BROKER, "c"));
        expect(events.map(({ object }) => object.metadata.name)).toEqual(["c"]);
      });

      test("leaves status and the server's metadata alone", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const withStatus = await store.updateStatus(BROKER, { ...made, status: { ok: true } });
        const updated = await store.update(BROKER, {
          ...withStatus,
          metadata: { ...withStatus.metadata, creationTimestamp: "1999-01-01T00:00:00Z", generation: 99 },
          spec: { step: 1 },
          status: { ok: false },
        });
        expect(updated.status).toEqual({ ok: true });
        expect(updated.metadata.creationTimestamp).toBe(made.metadata.creationTimestamp);
        expect(updated.metadata.generation).toBe(2);
      });

      test("rejects with CONFLICT on another resourceVersion or uid, with NOT_FOUND when there is none", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        await store.update(BROKER, { ...made, spec: { step: 1 } });
        await expect(store.update(BROKER, { ...made, spec: { step: 2 } })).rejects.toMatchObject({
          code: "CONFLICT",
        });
        const { resourceVersion: _version, ...metadata } = made.metadata;
        await expect(
          store.update(BROKER, { ...made, metadata: { ...metadata, uid: "other" } }),
        ).rejects.toMatchObject({ code: "CONFLICT" });
        await expect(store.update(BROKER, makeObject(BROKER, "none"))).rejects.toMatchObject({
          code: "NOT_FOUND",
        });
      });

      test("takes an unconditional write", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        await store.updateStatus(BROKER, { ...made, status: { ok: true } });
        const updated = await store.update(BROKER, makeObject(BROKER, "b", { spec: { step: 5 } }));
        expect(updated).toMatchObject({ spec: { step: 5 }, status: { ok: true } });
      });

      test("lets exactly one of several concurrent conditional writes win", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const results = await Promise.allSettled(
          [1, 2, 3, 4].map((step) => store.update(BROKER, { ...made, spec: { step } })),
        );
        expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const result of results) {
          if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "CONFLICT" });
        }
      });

      test("lets every concurrent unconditional write happen", async () => {
        await store.create(BROKER, makeObject(BROKER, "b"));
        await Promise.all(
          [1, 2, 3, 4].map((step) => store.update(BROKER, makeObject(BROKER, "b", { spec: { step } }))),
        );
        expect(store.get(BROKER, at("b"))?.metadata.generation).toBe(5);
      });
    });

    describe("updateStatus", () => {
      test("replaces only status and leaves generation", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const updated = await store.updateStatus(BROKER, {
          ...made,
          metadata: { ...made.metadata, labels: { no: "no" } },
          spec: { step: 9 },
          status: { ok: true },
        });
        expect(updated).toEqual({
          ...made,
          metadata: { ...made.metadata, resourceVersion: updated.metadata.resourceVersion },
          status: { ok: true },
        });
        expect(await store.updateStatus(BROKER, updated)).toEqual(updated);
        await expect(store.updateStatus(BROKER, { ...made, status: {} })).rejects.toMatchObject({
          code: "CONFLICT",
        });
      });
    });

    describe("delete", () => {
      test("removes, resolves to the last state, and consumes a resourceVersion", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const last = await store.delete(BROKER, at("b"));
        expect(last.metadata.uid).toBe(made.metadata.uid);
        expect(last.spec).toEqual(made.spec);
        expect(version(last)).toBeGreaterThan(version(made));
        expect(store.get(BROKER, at("b"))).toBeUndefined();
        await expect(store.delete(BROKER, at("b"))).rejects.toMatchObject({ code: "NOT_FOUND" });
      });

      test("rejects a failed precondition with CONFLICT", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        await expect(store.delete(BROKER, at("b"), { uid: "other" })).rejects.toMatchObject({
          code: "CONFLICT",
        });
        await store.update(BROKER, { ...made, spec: { step: 1 } });
        const { resourceVersion, uid } = made.metadata;
        await expect(store.delete(BROKER, at("b"), { resourceVersion })).rejects.toMatchObject({
          code: "CONFLICT",
        });
        await store.delete(BROKER, at("b"), { uid });
      });

      test("waits for finalizers, refuses new ones, and goes with the last", async () => {
        const made = await store.create(
          BROKER,
          makeObject(BROKER, "b", { metadata: { name: "b", namespace: "default", finalizers: ["f"] } }),
        );
        const deleting = await store.delete(BROKER, { namespace: "default", name: "b" });
        expect(deleting.metadata.deletionTimestamp).toBeDefined();
        expect(deleting.metadata.generation).toBe(made.metadata.generation + 1);
        expect(await store.delete(BROKER, at("b"))).toEqual(deleting);
        await expect(
          store.update(BROKER, { ...deleting, metadata: { ...deleting.metadata, finalizers: ["f", "g"] } }),
        ).rejects.toMatchObject({ code: "OBJECT_INVALID" });
        const events: WatchEvent[] = [];
        store.watch({ kind: BROKER }, (event) => events.push(event));
        await store.update(BROKER, { ...deleting, metadata: { ...deleting.metadata, finalizers: [] } });
        expect(store.get(BROKER, at("b"))).toBeUndefined();
        expect(events.map(({ type }) => type)).toEqual(["DELETED"]);
      });

      test("takes along what had no other owner, down the chain", async () => {
        const owned = (...owners: KubeObject[]) => ({
          ownerReferences: owners.map(({ apiVersion, kind, metadata }) => ({
            apiVersion,
            kind,
            name: metadata.name,
            uid: metadata.uid ?? "",
          })),
        });
        const a = await store.create(SERVICE, makeObject(SERVICE, "a"));
        const b = await store.create(SERVICE, makeObject(SERVICE, "b"));
        const child = await store.create(
          BROKER,
          makeObject(BROKER, "child", { metadata: { name: "child", ...owned(a) } }),
        );
        await store.create(
          TRIGGER,
          makeObject(TRIGGER, "grandchild", { metadata: { name: "grandchild", ...owned(child) } }),
        );
        await store.create(
          TRIGGER,
          makeObject(TRIGGER, "shared", { metadata: { name: "shared", ...owned(a, b) } }),
        );
        await store.delete(SERVICE, at("a"));
        expect(store.list(BROKER).items).toEqual([]);
        expect(store.list(TRIGGER).items.map(({ metadata }) => metadata.name)).toEqual(["shared"]);
        await store.delete(SERVICE, at("b"));
        expect(store.list(TRIGGER).items).toEqual([]);
      });
    });

    describe("watch", () => {
      test("delivers every change once, in order, deletions with their own resourceVersion", async () => {
        const seen: WatchEvent[] = [];
        const watch = store.watch({ kind: BROKER }, (event) => seen.push(event));
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const changed = await store.update(BROKER, { ...made, spec: { step: 1 } });
        const status = await store.updateStatus(BROKER, { ...changed, status: { ok: true } });
        await store.create(TRIGGER, makeObject(TRIGGER, "t"));
        const last = await store.delete(BROKER, at("b"));
        expect(seen.map(brief)).toEqual([
          `ADDED b ${version(made)}`,
          `MODIFIED b ${version(changed)}`,
          `MODIFIED b ${version(status)}`,
          `DELETED b ${version(last)}`,
        ]);
        expect(seen.at(-1)?.object).toEqual(last);
        watch.close();
        await store.create(BROKER, makeObject(BROKER, "later"));
        expect(seen).toHaveLength(4);
      });

      test("replays what came after a resourceVersion", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const changed = await store.update(BROKER, { ...made, spec: { step: 1 } });
        const last = await store.delete(BROKER, at("b"));
        const seen: WatchEvent[] = [];
        store.watch({ resourceVersion: made.metadata.resourceVersion }, (event) => seen.push(event));
        expect(seen.map(brief)).toEqual([`MODIFIED b ${version(changed)}`, `DELETED b ${version(last)}`]);
      });

      test("from the future begins there", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const seen: string[] = [];
        store.watch({ resourceVersion: String(version(made) + 1) }, ({ object }) =>
          seen.push(object.metadata.name),
        );
        await store.create(BROKER, makeObject(BROKER, "one"));
        await store.create(BROKER, makeObject(BROKER, "two"));
        expect(seen).toEqual(["two"]);
      });

      test("is limited to its kind and namespace", async () => {
        const seen: string[] = [];
        store.watch({ kind: BROKER, namespace: "other" }, ({ object }) => seen.push(object.metadata.name));
        await store.create(BROKER, makeObject(BROKER, "here"));
        await store.create(BROKER, {
          ...makeObject(BROKER, "there"),
          metadata: { name: "there", namespace: "other" },
        });
        expect(seen).toEqual(["there"]);
      });

      test("throws HISTORY_EXPIRED when the history is gone", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const names = Array.from({ length: 64 }, (_, index) => `o${index}`);
        await Promise.all(names.map((each) => store.create(TRIGGER, makeObject(TRIGGER, each))));
        for (let step = 0; step < HISTORY_EVENTS_MAX / names.length; step++) {
          await Promise.all(
            names.map((each) => store.updateStatus(TRIGGER, makeObject(TRIGGER, each, { status: { step } }))),
          );
        }
        const { resourceVersion } = made.metadata;
        expect(() => store.watch({ resourceVersion }, () => {})).toThrow(
          expect.objectContaining({ code: "HISTORY_EXPIRED" }),
        );
      });

      test("survives a callback that writes", async () => {
        const seen: string[] = [];
        let answer: Promise<unknown> = Promise.resolve();
        store.watch({ kind: BROKER }, (event) => {
          if (event.type === "ADDED") {
            answer = store.updateStatus(BROKER, { ...event.object, status: { seen: true } });
          }
        });
        store.watch({ kind: BROKER }, (event) => seen.push(event.type));
        await store.create(BROKER, makeObject(BROKER, "b"));
        await answer;
        expect(seen).toEqual(["ADDED", "MODIFIED"]);
      });

      test("survives a callback that throws", async () => {
        const seen: string[] = [];
        store.watch({ kind: BROKER }, () => {
          throw new Error("a watcher's bug");
        });
        store.watch({ kind: BROKER }, (event) => seen.push(event.type));
        await store.create(BROKER, makeObject(BROKER, "b"));
        expect(seen).toEqual(["ADDED"]);
      });
    });

    if (!isShared) return;
    describe("a second store over the same objects", () => {
      test("sees the same objects and resourceVersions after a restart", async () => {
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        await store.updateStatus(BROKER, { ...made, status: { ok: true } });
        await store.create(TRIGGER, makeObject(TRIGGER, "t"));
        await store.delete(TRIGGER, at("t"));
        const before = store.list(BROKER);
        await store.close();
        const again = await home.openAgain();
        expect(again.list(BROKER)).toEqual(before);
        expect(again.list(TRIGGER).items).toEqual([]);
        expect(() => again.watch({ resourceVersion: made.metadata.resourceVersion }, () => {})).toThrow(
          expect.objectContaining({ code: "HISTORY_EXPIRED" }),
        );
        const next = await again.create(TRIGGER, makeObject(TRIGGER, "t"));
        expect(version(next)).toBeGreaterThan(Number(before.resourceVersion));
      });

      test("sees the other's writes in order, and is seen", async () => {
        const other = await home.openAgain();
        const [here, there]: string[][] = [[], []];
        store.watch({}, (event) => here?.push(brief(event)));
        other.watch({}, (event) => there?.push(brief(event)));
        const work = async (writer: Store, prefix: string) => {
          for (let index = 0; index < 20; index++) {
            const made = await writer.create(BROKER, makeObject(BROKER, `${prefix}${index}`));
            await writer.update(BROKER, { ...made, spec: { step: 1 } });
            await writer.delete(BROKER, at(`${prefix}${index}`));
          }
        };
        await Promise.all([work(store, "a"), work(other, "b")]);
        await until(() => here?.length === 120 && there?.length === 120, {
          what: "120 events on both sides",
        });
        expect(there).toEqual(here);
      });

      test("conflicts with a concurrent conditional update of the other", async () => {
        const other = await home.openAgain();
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        await until(() => other.get(BROKER, at("b")));
        const results = await Promise.allSettled([
          store.update(BROKER, { ...made, spec: { step: 1 } }),
          other.update(BROKER, { ...made, spec: { step: 2 } }),
        ]);
        expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
        const both = await Promise.allSettled([
          store.create(TRIGGER, makeObject(TRIGGER, "t")),
          other.create(TRIGGER, makeObject(TRIGGER, "t")),
        ]);
        expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      });

      test("accepts at once what a client read from the other", async () => {
        const other = await home.openAgain();
        const made = await store.create(BROKER, makeObject(BROKER, "b"));
        const updated = await other.update(BROKER, { ...made, spec: { step: 1 } });
        expect(await store.update(BROKER, { ...updated, spec: { step: 2 } })).toMatchObject({
          spec: { step: 2 },
        });
      });
    });
  });
}
