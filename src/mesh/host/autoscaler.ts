/**
 * HOW MANY instances a revision should have: Knative's pod autoscaler (KPA) as a pure function of load, spec,
 * what it remembers, and now.
 *
 * A1  Panic is compared on the rounded-up instance count, not on the load ratio: with one ready instance it
 *     begins as soon as the load is over the target.
 * A2  Never down while panicking; panic ends one stable window after it was last warranted.
 * A3  Division is exact: load and target are whole millionths.
 * A4  The last instance goes only after the revision was active for a stable window, plus its retention.
 */
import { type ScalingSpec, scaleDownRateMax, scaleUpRateMax } from "./scaling.ts";

export interface Load {
  readonly ready: number;
  /** Averages over the two windows, 6 decimals. */
  readonly stable: number;
  readonly panic: number;
}

/** What one decision hands to the next. */
export interface ScaleMemory {
  readonly panicSince: number | undefined;
  readonly highWater: number;
  /** Recent decisions, for the scale-down delay. */
  readonly recent: readonly { readonly at: number; readonly want: number }[];
}

export interface Decision {
  readonly want: number;
  readonly panicking: boolean;
  /** Would the activator be needed? Only reported. */
  readonly excessBurstCapacity: number;
  readonly memory: ScaleMemory;
}

export const freshMemory: ScaleMemory = { panicSince: undefined, highWater: 0, recent: [] };

export function decideScale({
  load,
  spec,
  memory,
  now,
  reachable = true,
}: {
  readonly load: Load;
  readonly spec: ScalingSpec;
  readonly memory: ScaleMemory;
  readonly now: number;
  /** False once no traffic can reach the revision: it may then drop to zero at once. */
  readonly reachable?: boolean;
}): Decision {
  const ready = Math.max(1, load.ready);
  const up = Math.ceil(scaleUpRateMax * ready);
  const down = reachable ? Math.floor(ready / scaleDownRateMax) : 0;
  const target = millionths(Math.max(0.01, spec.total * spec.utilization));
  const wantStable = Math.ceil(millionths(load.stable) / target);
  const wantPanic = Math.ceil(millionths(load.panic) / target);
  let stable = Math.min(Math.max(wantStable, down), up);
  let panic = Math.min(Math.max(wantPanic, down), up);
  if (spec.activationScale > 1) {
    if (wantStable > 0) stable = Math.max(stable, spec.activationScale);
    if (wantPanic > 0) panic = Math.max(panic, spec.activationScale);
  }

  const over = wantPanic / ready >= spec.panicThreshold;
  let { panicSince, highWater } = memory;
  if (over) panicSince = now;
  else if (panicSince !== undefined && panicSince + spec.windowMs < now) {
    panicSince = undefined;
    highWater = 0;
  }
  let want = stable;
  if (panicSince !== undefined) {
    highWater = Math.max(highWater, stable, panic);
    want = highWater;
  }

  let recent: ScaleMemory["recent"] = [];
  if (reachable && spec.scaleDownDelayMs > 0) {
    recent = [...memory.recent.filter(({ at }) => at > now - spec.scaleDownDelayMs), { at: now, want }];
    want = Math.max(...recent.map((one) => one.want));
  }
  return {
    want,
    panicking: panicSince !== undefined,
    excessBurstCapacity: excessBurstCapacity(load, spec),
    memory: { panicSince, highWater, recent },
  };
}

/** Applies min and max scale and the rules for going to zero (A4). */
export function boundScale({
  want,
  spec,
  activeForMs,
  idleForMs,
}: {
  readonly want: number;
  readonly spec: Pick<ScalingSpec, "minScale" | "maxScale" | "windowMs" | "retentionMs">;
  /** Since the first instance was ready; undefined at zero. */
  readonly activeForMs: number | undefined;
  /** Since the wanted scale became zero. */
  readonly idleForMs: number;
}): number {
  const most = spec.maxScale === 0 ? Number.POSITIVE_INFINITY : spec.maxScale;
  const bounded = Math.min(Math.max(want, spec.minScale), most);
  if (bounded > 0 || activeForMs === undefined) return bounded;
  return activeForMs < spec.windowMs || idleForMs < spec.retentionMs ? 1 : 0;
}

function excessBurstCapacity({ ready, panic }: Load, { total, targetBurstCapacity }: ScalingSpec): number {
  if (targetBurstCapacity === 0) return 0;
  return targetBurstCapacity > 0 ? Math.floor(ready * total - targetBurstCapacity - panic) : -1;
}

function millionths(value: number): number {
  return Math.round(value * 1e6);
}
