/**
 * Keeps a Service for every function in the functions folder: the Service `hello` in namespace `default` for
 * `functions/hello.ts`, unless manifests say more about it (DESIGN §8). The code is named by its digest in the
 * template, so a change of the file is a new revision, and a file that does not compile changes nothing.
 *
 * F1  a Service made here goes with its file; one that a manifest made stays.
 * F2  whoever rewrites the Service (an apply, `kn`) gets the code's digest back: level-based.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { BUNDLE } from "../resources/annotations.ts";
import { SERVICE } from "../resources/kinds.ts";
import type { KubeObject, StoredObject } from "../resources/meta.ts";
import { type Service, serviceSchema } from "../resources/service.ts";
import type { Store } from "../store/store.ts";
import { formatKey, type ReconcileKey } from "./controller.ts";
import { WorkQueue } from "./workqueue.ts";

export interface FunctionServicesParts {
  readonly store: Store;
  readonly admit: (object: KubeObject, old: StoredObject | undefined) => KubeObject;
  readonly clock: Clock;
  readonly log: Log;
}

/** On a Service: the function (file or folder name) whose code it runs, when it is not its own name. */
const functionAnnotation = "weft.dev/function";
const functionNamespace = "default";
/** A Service needs a container; on a cluster the same one runs the bundle. */
const functionImage = "weft.dev/function";
const madeHere = "weft.dev/made-from-file";

export class FunctionServices implements Closeable {
  readonly #parts: FunctionServicesParts;
  readonly #digests = new Map<string, string>();
  readonly #queue: WorkQueue;
  readonly #watch: { close(): void };

  constructor(parts: FunctionServicesParts) {
    this.#parts = parts;
    this.#queue = new WorkQueue({
      process: async (key) => {
        await this.#reconcile(parseKey(key));
        return undefined;
      },
      onFailure: ({ key, error }) =>
        parts.log.warn(
          { stage: "control", service: key, error: messageOf(error) },
          "a function has no Service yet",
        ),
      clock: parts.clock,
    });
    this.#watch = parts.store.watch({ kind: SERVICE }, ({ object }) => {
      const { namespace, name } = object.metadata;
      if (functionOf(object) !== undefined) this.#queue.add(formatKey({ namespace: namespace ?? "", name }));
    });
  }

  /** The function has new code. */
  set(name: string, digest: string): void {
    this.#digests.set(name, `sha256:${digest}`);
    this.#enqueue(name);
  }

  /** The function's file is gone. */
  remove(name: string): void {
    this.#digests.delete(name);
    this.#enqueue(name);
  }

  /** Resolves when nothing is left to do. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  get isIdle(): boolean {
    return this.#queue.isIdle;
  }

  async close(): Promise<void> {
    this.#watch.close();
    await this.#queue.close();
  }

  /** The function's own Service, and every other that names it by annotation. */
  #enqueue(name: string): void {
    this.#queue.add(formatKey({ namespace: functionNamespace, name }));
    for (const object of this.#parts.store.list(SERVICE).items) {
      if (functionOf(object) === name) {
        this.#queue.add(
          formatKey({ namespace: object.metadata.namespace ?? "", name: object.metadata.name }),
        );
      }
    }
  }

  async #reconcile(key: ReconcileKey): Promise<void> {
    const { store } = this.#parts;
    const stored = store.get(SERVICE, key);
    const name = stored === undefined ? key.name : functionOf(stored);
    const digest = name === undefined ? undefined : this.#digests.get(name);
    if (stored === undefined) {
      if (digest === undefined || key.namespace !== functionNamespace) return;
      await store.create(SERVICE, this.#parts.admit(newService(key, digest), undefined));
      return;
    }
    if (digest === undefined) {
      if (stored.metadata.annotations?.[madeHere] === "true") await store.delete(SERVICE, key);
      return;
    }
    const changed = withBundle(stored, digest);
    if (changed !== undefined) await store.update(SERVICE, this.#parts.admit(changed, stored));
  }
}

/** The function whose code a Service runs. */
function functionOf({ metadata }: StoredObject): string | undefined {
  const named = metadata.annotations?.[functionAnnotation];
  if (named !== undefined) return named;
  return metadata.namespace === functionNamespace ? metadata.name : undefined;
}

function newService({ namespace, name }: ReconcileKey, digest: string): KubeObject {
  return {
    apiVersion: "serving.knative.dev/v1",
    kind: "Service",
    metadata: { namespace, name, annotations: { [madeHere]: "true" } },
    spec: {
      template: {
        metadata: { annotations: { [BUNDLE]: digest } },
        spec: { containers: [{ image: functionImage }] },
      },
    },
  };
}

function withBundle(stored: StoredObject, digest: string): KubeObject | undefined {
  const service: Service = serviceSchema.parse(stored);
  const template = service.spec.template ?? {};
  if (template.metadata?.annotations?.[BUNDLE] === digest) return undefined;
  return {
    ...stored,
    spec: {
      ...service.spec,
      template: {
        ...template,
        metadata: {
          ...template.metadata,
          annotations: { ...template.metadata?.annotations, [BUNDLE]: digest },
        },
      },
    },
  };
}

function parseKey(key: string): ReconcileKey {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
