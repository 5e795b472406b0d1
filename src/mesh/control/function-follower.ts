/**
 * Hands the newest revision of each Service, or the newest that is ready, to this machine's function host, on a
 * machine whose control plane is not the active one (or whose dispatcher runs alone). Reads resources, writes
 * none. Code that is not on this machine is no fault: its host takes no requests, the other machines' hosts do.
 */
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { REVISION, SERVICE } from "../resources/kinds.ts";
import { revisionSchema, serviceSchema } from "../resources/service.ts";
import type { Store } from "../store/store.ts";
import { type Controller, ownKey, type ReconcileKey, startController } from "./controller.ts";
import type { FunctionHost, RevisionOutcome } from "./function-host.ts";
import { REVISION_LABELS, toFunctionRevision } from "./revision.ts";

export interface FunctionFollowerOptions {
  readonly store: Store;
  readonly host: FunctionHost;
  readonly clock: Clock;
  readonly log: Log;
}

/** Follows until closed; closing leaves what the host has. */
export function followFunctions({ store, host, clock, log }: FunctionFollowerOptions): Controller {
  const controller = startController({
    name: "functions of this machine",
    store,
    watches: [
      { kind: SERVICE, keysOf: (service) => [ownKey(service)] },
      {
        kind: REVISION,
        keysOf: ({ metadata }) => {
          const name = metadata.labels?.[REVISION_LABELS.service];
          return name === undefined ? [] : [{ namespace: metadata.namespace ?? "", name }];
        },
      },
    ],
    reconcile: async (key) => {
      await follow(key, { store, host });
      return undefined;
    },
    clock,
    log,
  });
  host.onChange((service) => controller.enqueue(service));
  return controller;
}

async function follow(
  key: ReconcileKey,
  { store, host }: { store: Store; host: FunctionHost },
): Promise<void> {
  const object = store.get(SERVICE, key);
  if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
    await host.remove(key);
    return;
  }
  const { status } = serviceSchema.parse(object);
  const { latestCreatedRevisionName: created, latestReadyRevisionName: ready } = status ?? {};
  const outcome = await apply(created, { key, store, host });
  if (outcome?.kind === "ready" || ready === undefined || ready === created) return;
  await apply(ready, { key, store, host });
}

async function apply(
  name: string | undefined,
  { key, store, host }: { key: ReconcileKey; store: Store; host: FunctionHost },
): Promise<RevisionOutcome | undefined> {
  const revision = name === undefined ? undefined : store.get(REVISION, { namespace: key.namespace, name });
  if (revision === undefined) return undefined;
  const runnable = toFunctionRevision(revisionSchema.parse(revision), { key, uid: revision.metadata.uid });
  return runnable.kind === "runnable" ? host.applyRevision(runnable.revision) : runnable.failure;
}
