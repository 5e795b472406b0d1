/**
 * The adaptive window of one trigger, pure: halved when the subscriber says it is too much (429, 503) or does
 * not answer in time, growing by one for every full window of good answers, up to `weft.dev/concurrency`.
 *
 * C1  one round of attempts in flight shrinks the window once: an attempt counts only when it started after the
 *     last shrinking.
 * C2  the window is at least 1.
 */
import type { CallResult } from "./call.ts";

export interface Congestion {
  /** Attempts in flight at once; infinite while nothing speaks against the trigger's own window. */
  readonly limit: number;
  /** How often it was shrunk; attempts carry the round they started in. */
  readonly round: number;
}

export type CongestionSign = "congested" | "clear" | "neither";

export const uncongested: Congestion = { limit: Number.POSITIVE_INFINITY, round: 0 };

/** Attempts the trigger may have in flight now. */
export function windowOf({ limit }: Congestion, concurrency: number): number {
  return Math.max(1, Math.min(Math.floor(limit), concurrency));
}

/** What one attempt's result says about how busy the subscriber is. */
export function congestionSign(result: CallResult): CongestionSign {
  if (result.kind === "failed") return result.error === "Timeout" ? "congested" : "neither";
  if (result.kind !== "answered") return "neither";
  if (result.status === 429 || result.status === 503) return "congested";
  return result.status < 500 ? "clear" : "neither";
}

/** The window after an attempt that started in `round`. */
export function afterAttempt(
  congestion: Congestion,
  { sign, round, concurrency }: { sign: CongestionSign; round: number; concurrency: number },
): Congestion {
  switch (sign) {
    case "neither":
      return congestion;
    case "congested":
      if (round !== congestion.round) return congestion;
      return { limit: Math.max(1, Math.floor(windowOf(congestion, concurrency) / 2)), round: round + 1 };
    case "clear": {
      if (!Number.isFinite(congestion.limit)) return congestion;
      const limit = congestion.limit + 1 / congestion.limit;
      return { limit: limit >= concurrency ? Number.POSITIVE_INFINITY : limit, round: congestion.round };
    }
  }
}
