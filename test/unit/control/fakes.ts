/** A control plane over the memory store, with a data plane and a function host that only take notes. */
import { FakeClock } from "../../../src/mesh/clock.ts";
import { type Control, startControl } from "../../../src/mesh/control/control.ts";
import type { DataPlane } from "../../../src/mesh/control/data-plane.ts";
import type {
  FunctionHost,
  FunctionRevision,
  RevisionOutcome,
  ServiceKey,
  TrafficShare,
} from "../../../src/mesh/control/function-host.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { admitObject } from "../../../src/mesh/resources/admission.ts";
import { type Condition, conditionsSchema } from "../../../src/mesh/resources/conditions.ts";
import { BROKER, REQUEST_REPLY, SERVICE, TRIGGER } from "../../../src/mesh/resources/kinds.ts";
import {
  apiVersionOf,
  type KindId,
  type KubeObject,
  type StoredObject,
} from "../../../src/mesh/resources/meta.ts";
import type { Routes } from "../../../src/mesh/routes/route.ts";
import { createMemoryStore } from "../../../src/mesh/store/memory.ts";
import type { Store } from "../../../src/mesh/store/store.ts";

export class FakeDataPlane implements DataPlane {
  readonly calls: string[] = [];
  routes: Routes = { brokers: [], triggers: [] };
  /** Thrown by the ensure calls while set. */
  fault: Error | undefined;
  /** Why published routes are not served while set. */
  unserved: Error | undefined;
  alive: ReturnType<Parameters<DataPlane["removeOrphans"]>[0]> | undefined;

  async ensureBroker({ name }: { name: string }): Promise<void> {
    this.calls.push(`ensureBroker ${name}`);
    if (this.fault) throw this.fault;
  }
  async removeBroker({ name }: { name: string }): Promise<void> {
    this.calls.push(`removeBroker ${name}`);
  }
  async ensureTrigger({ name }: { name: string }): Promise<void> {
    this.calls.push(`ensureTrigger ${name}`);
    if (this.fault) throw this.fault;
  }
  async removeTrigger({ name, uid }: { name: string; uid: string }): Promise<void> {
    this.calls.push(`removeTrigger ${name} ${uid}`);
  }
  setRoutes(routes: Routes): void {
    this.routes = routes;
    const names = [...routes.brokers, ...routes.triggers].map(({ name }) => name);
    this.calls.push(`setRoutes ${names.join(" ")}`.trim());
  }
  async routesServed(): Promise<void> {
    if (this.unserved) throw this.unserved;
  }
  async removeOrphans(alive: Parameters<DataPlane["removeOrphans"]>[0]): Promise<void> {
    this.alive = alive();
  }
}

export class FakeHost implements FunctionHost {
  readonly applied = new Map<string, FunctionRevision>();
  readonly traffic = new Map<string, readonly TrafficShare[]>();
  readonly removed: string[] = [];
  /** What `applyRevision` answers, by revision. */
  readonly outcomes = new Map<string, RevisionOutcome>();
  #listener: (service: ServiceKey) => void = () => {};

  async applyRevision(revision: FunctionRevision): Promise<RevisionOutcome> {
    this.applied.set(revision.revision, revision);
    return this.outcomes.get(revision.revision) ?? { kind: "ready" };
  }
  setTraffic({ name }: ServiceKey, traffic: readonly TrafficShare[]): void {
    this.traffic.set(name, traffic);
  }
  async remove({ name }: ServiceKey): Promise<void> {
    this.removed.push(name);
  }
  onChange(listener: (service: ServiceKey) => void): void {
    this.#listener = listener;
  }
  changed(service: ServiceKey): void {
    this.#listener(service);
  }
}

export interface TestControl {
  readonly store: Store;
  readonly dataPlane: FakeDataPlane;
  readonly host: FakeHost;
  readonly clock: FakeClock;
  readonly control: Control;
  /** Creates or updates as a user would, and waits until all is reconciled. */
  apply(...objects: KubeObject[]): Promise<void>;
  remove(kind: KindId, name: string): Promise<void>;
  get(kind: KindId, name: string): StoredObject;
  status(kind: KindId, name: string): Record<string, unknown>;
  /** `type=status reason`, Ready first. */
  conditions(kind: KindId, name: string): string[];
  condition(kind: KindId, name: string, type?: string): Condition | undefined;
}

export function startTestControl(store: Store = createMemoryStore()): TestControl {
  const clock = new FakeClock();
  const dataPlane = new FakeDataPlane();
  const host = new FakeHost();
  const addresses = {
    broker: ({ namespace, name }: ServiceKey) => `http://127.0.0.1:8080/${namespace}/${name}`,
    requestReply: ({ namespace, name }: ServiceKey) =>
      `http://127.0.0.1:8080/request-reply/${namespace}/${name}`,
    function: ({ namespace, name }: ServiceKey, tag?: string) =>
      `http://${tag === undefined ? "" : `${tag}-`}${name}.${namespace}.localhost:8080`,
  };
  const control = startControl({ store, dataPlane, host, addresses, clock, log: silentLog });
  const kinds = [BROKER, TRIGGER, SERVICE, REQUEST_REPLY];
  const get = (kind: KindId, name: string) => {
    const object = store.get(kind, { namespace: "default", name });
    if (object === undefined) throw new Error(`no ${kind.kind} ${name}`);
    return object;
  };
  const status = (kind: KindId, name: string) => (get(kind, name).status ?? {}) as Record<string, unknown>;
  const list = (kind: KindId, name: string): Condition[] =>
    conditionsSchema.parse(status(kind, name).conditions ?? []);
  return {
    store,
    dataPlane,
    host,
    clock,
    control,
    async apply(...objects) {
      for (const object of objects) {
        const kind = kinds.find((each) => each.kind === object.kind) ?? BROKER;
        const { name, namespace } = object.metadata;
        const old = store.get(kind, { namespace, name });
        const admitted = admitObject(kind, object, { old });
        if (old === undefined) await store.create(kind, admitted);
        else await store.update(kind, admitted);
      }
      await control.settled();
    },
    async remove(kind, name) {
      await store.delete(kind, { namespace: "default", name });
      await control.settled();
    },
    get,
    status,
    conditions: (kind, name) =>
      list(kind, name)
        .sort((a, b) => Number(b.type === "Ready") - Number(a.type === "Ready"))
        .map(({ type, status: is, reason }) => `${type}=${is}${reason ? ` ${reason}` : ""}`),
    condition: (kind, name, type = "Ready") => list(kind, name).find((each) => each.type === type),
  };
}

export function makeBroker(
  name = "default",
  spec?: unknown,
  annotations?: Record<string, string>,
): KubeObject {
  return make(BROKER, name, spec, annotations);
}

export function makeTrigger(
  name: string,
  spec: object = {},
  annotations?: Record<string, string>,
): KubeObject {
  const subscriber = { uri: "http://127.0.0.1:9/" };
  return make(TRIGGER, name, { broker: "default", subscriber, ...spec }, annotations);
}

/** A Service whose code is the bundle of that letter; without one, it names only an image. */
export function makeService(
  name: string,
  bundle?: string,
  spec: object = {},
  container: object = {},
): KubeObject {
  const annotations = bundle === undefined ? {} : { "weft.dev/bundle": `sha256:${bundle.repeat(64)}` };
  const template = { metadata: { annotations }, spec: { containers: [{ image: "i", ...container }] } };
  return make(SERVICE, name, { template, ...spec });
}

function make(kind: KindId, name: string, spec: unknown, annotations?: Record<string, string>): KubeObject {
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: { name, namespace: "default", ...(annotations === undefined ? {} : { annotations }) },
    ...(spec === undefined ? {} : { spec }),
  };
}
