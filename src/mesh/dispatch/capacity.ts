/**
 * What the dispatcher asks of whoever runs functions: room first, then the request. A burst onto a sleeping
 * function queues durably in JetStream, and a cold start never costs an attempt (DESIGN §8).
 */
import { MeshError } from "../errors.ts";

export interface FunctionRef {
  readonly namespace: string;
  readonly name: string;
}

/** Permission to send one request to one instance. */
export interface Lease {
  /** `http://127.0.0.1:<port>` of the instance. */
  readonly url: string;
  /** Headers the instance demands, by name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Call exactly once: whether any HTTP answer came, or none. */
  release(outcome: "answered" | "broken"): void;
}

export interface Capacity {
  /** Requests that could be sent now, or as soon as what is starting is ready; at zero, enough to wake it. */
  slots(target: FunctionRef): number;
  /** Tells how many events of one trigger wait for the function; 0 when none do, or none are going to be sent. */
  demand(target: FunctionRef, triggerUid: string, waiting: number): void;
  /** Resolves when an instance can take one request. Rejects with FUNCTION_UNAVAILABLE. */
  acquire(target: FunctionRef, signal: AbortSignal): Promise<Lease>;
  /** Calls back when slots may have grown; the callback must not throw. */
  onCapacity(listener: () => void): { close(): void };
}

/** Of a process that runs no functions. */
export const noCapacity: Capacity = {
  slots: () => 0,
  demand() {},
  async acquire({ namespace, name }) {
    throw new MeshError("FUNCTION_UNAVAILABLE", { found: `${namespace}/${name} runs in another process` });
  },
  onCapacity: () => ({ close() {} }),
};
