/** Adapter: the function host as the control plane and the dispatcher each want to see it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type {
  FunctionHost as ControlHost,
  FunctionRevision,
  RevisionOutcome,
  ServiceKey,
} from "./control/function-host.ts";
import type { Capacity } from "./dispatch/capacity.ts";
import type { FunctionHost } from "./host/host.ts";

/** Where a bundle of this digest (`sha256:<hex>`) is kept. */
export function bundleFile(bundleDir: string, digest: string): string {
  return join(bundleDir, `${digest.replace(/^sha256:/, "")}.mjs`);
}

export interface HostAdapter extends ControlHost {
  /** The service should be looked at again: its code arrived. */
  touch(service: ServiceKey): void;
}

export function hostForControl(
  host: FunctionHost,
  { bundleDir, rootOf }: { bundleDir: string; rootOf: (digest: string) => string },
): HostAdapter {
  return {
    ...announcer(),
    async applyRevision(revision: FunctionRevision) {
      const file = bundleFile(bundleDir, revision.bundle);
      if (!existsSync(file)) return codeMissing(revision);
      const result = await host.applyRevision({ ...revision, file, root: rootOf(revision.bundle) });
      return result.ready
        ? { kind: "ready" }
        : { kind: "failed", reason: result.reason, message: result.message };
    },
    // The host moves traffic to the newest revision that is ready; a split by percent is not made here yet.
    setTraffic() {},
    remove: (service) => host.removeService(service),
  };
}

/** For a process that runs no functions: all it can say of a revision is whether its code is there. */
export function hostOfNone({ bundleDir }: { bundleDir: string }): HostAdapter {
  return {
    ...announcer(),
    async applyRevision(revision) {
      return existsSync(bundleFile(bundleDir, revision.bundle)) ? { kind: "ready" } : codeMissing(revision);
    },
    setTraffic() {},
    async remove() {},
  };
}

function announcer(): Pick<HostAdapter, "onChange" | "touch"> {
  const listeners = new Set<(service: ServiceKey) => void>();
  return {
    onChange: (listener) => void listeners.add(listener),
    touch(service) {
      for (const listener of listeners) listener(service);
    },
  };
}

function codeMissing({ bundle }: FunctionRevision): RevisionOutcome {
  return {
    kind: "failed",
    reason: "ContainerMissing",
    message: `The code ${bundle} is not on this machine; put the function's file back or deploy again`,
  };
}

/** Several triggers may send to one function: what waits for it is the sum. */
export function capacityOf(host: FunctionHost): Capacity {
  const waitingBy = new Map<string, Map<string, number>>();
  return {
    slots: (target) => host.slots(target),
    demand(target, triggerUid, waiting) {
      const key = `${target.namespace}/${target.name}`;
      const byTrigger = waitingBy.get(key) ?? new Map<string, number>();
      if (byTrigger.get(triggerUid) === waiting || (waiting === 0 && !byTrigger.has(triggerUid))) return;
      if (waiting === 0) byTrigger.delete(triggerUid);
      else byTrigger.set(triggerUid, waiting);
      waitingBy.set(key, byTrigger);
      host.demand(
        target,
        [...byTrigger.values()].reduce((sum, one) => sum + one, 0),
      );
    },
    async acquire(target, signal) {
      const lease = await host.acquire(target, signal);
      return { url: lease.url, headers: lease.headers, release: (outcome) => lease.release(outcome) };
    },
    onCapacity(listener) {
      const stop = host.onCapacity(() => listener());
      return { close: stop };
    },
  };
}
