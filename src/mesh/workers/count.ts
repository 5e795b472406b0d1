/** How many processes run ingress and dispatch, and why. Pure. */
import type { Role } from "../config.ts";

export interface WorkerCount {
  readonly count: number;
  /** For people, after the number. */
  readonly why: string;
}

export interface WorkerChoice {
  /** `--workers`; undefined: not given. */
  readonly asked: number | undefined;
  /** Whether this is one process of several, on a machine that is there for it (`weft serve`). */
  readonly shared: boolean;
  readonly cores: number;
  readonly roles: ReadonlySet<Role>;
}

/** Beyond this, one after another waits for the same NATS. */
const defaultMax = 8;

export function workerCount({ asked, shared, cores, roles }: WorkerChoice): WorkerCount {
  const here = `${cores} ${cores === 1 ? "core" : "cores"}`;
  if (!roles.has("ingress") && !roles.has("dispatch")) {
    return { count: 1, why: `of ${here} (no ingress and no dispatch here)` };
  }
  if (asked !== undefined) return { count: asked, why: `on ${here}` };
  if (!shared)
    return { count: 1, why: `of ${here} (one process is enough for a laptop; --workers N for more)` };
  const count = Math.min(defaultMax, Math.max(1, Math.floor(cores / 2)));
  return { count, why: `of ${here} (half, the rest is for NATS and subscribers; --workers N for others)` };
}
