/** Where an event is now, as one trigger sees it: a pure decision from what NATS and the journal know. */
import type { OutcomeRecord } from "../journal/record.ts";

/** The trigger's consumer, as far as it matters here. */
export interface Progress {
  /** Delivered to a dispatcher up to here. */
  readonly deliveredSequence: number;
  /** Everything up to here has an outcome, or is older than the trigger. */
  readonly settledSequence: number;
  readonly createdMs: number;
}

export interface Evidence {
  readonly wanted: boolean;
  readonly paused: boolean;
  readonly sequence: number;
  readonly storedMs: number;
  readonly progress: Progress | undefined;
  /** The last one of this event at this trigger, when the journal still has it. */
  readonly outcome: OutcomeRecord["outcome"] | undefined;
  /** Failed attempts that the journal still has. */
  readonly failedAttempts: number;
  /** It is in the list of dead letters. */
  readonly isDeadLetter: boolean;
}

export type Whereabouts =
  | OutcomeRecord["outcome"]
  | "not wanted"
  | "before the trigger began"
  | "paused"
  | "waiting"
  | "in flight"
  | "retrying"
  | "settled";

export function whereIs(evidence: Evidence): Whereabouts {
  const { wanted, paused, sequence, storedMs, progress, outcome, failedAttempts, isDeadLetter } = evidence;
  if (isDeadLetter) return "dead";
  if (outcome !== undefined) return outcome;
  if (!wanted) return "not wanted";
  if (progress === undefined) return "before the trigger began";
  if (sequence <= progress.settledSequence) {
    return storedMs < progress.createdMs && failedAttempts === 0 ? "before the trigger began" : "settled";
  }
  if (failedAttempts > 0) return paused ? "paused" : "retrying";
  if (sequence > progress.deliveredSequence) return paused ? "paused" : "waiting";
  return "in flight";
}
