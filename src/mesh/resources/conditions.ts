/**
 * Status conditions by one set of rules (sheet knative-eventing §1.2): a summary condition `Ready` that follows
 * from its dependents.
 *
 * C1  Ready is False as soon as one dependent is (the most recently changed one explains it), else Unknown as
 *     soon as one is, else True.
 * C2  lastTransitionTime moves only when something else about the condition differs from what the pass found.
 * C3  the list is sorted by type; a pass that changes nothing yields an equal list.
 */
import { z } from "zod";

export const conditionSchema = z.looseObject({
  type: z.string(),
  status: z.enum(["True", "False", "Unknown"]),
  severity: z.string().optional(),
  lastTransitionTime: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
});

export const conditionsSchema = z.array(conditionSchema);

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** Absent: an error. "Info" does not touch Ready. */
  readonly severity?: string | undefined;
  readonly lastTransitionTime?: string | undefined;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/** Why a condition is what it is; a False one always says. */
export interface Because {
  readonly reason: string;
  readonly message?: string;
}

/** The conditions of one pass. Marks are collected; `list` gives the outcome. */
export interface Conditions {
  markTrue(type: string, because?: Because): void;
  markFalse(type: string, because: Because): void;
  markUnknown(type: string, because: Because): void;
  isReady(): boolean;
  list(): Condition[];
}

export const READY = "Ready";

/**
 * Starts a pass over `previous`; `now` (RFC 3339) stamps everything that changes in it. A kind whose only
 * condition is Ready names that as its dependent and marks it itself.
 */
export function startConditions(
  dependents: readonly string[],
  { previous, now }: { previous: readonly Condition[] | undefined; now: string },
): Conditions {
  const before = new Map((previous ?? []).map((condition) => [condition.type, condition]));
  const wasReady = before.get(READY)?.status === "True";
  const marked = new Map<string, Condition>();
  for (const type of dependents) {
    marked.set(type, before.get(type) ?? { type, status: wasReady ? "True" : "Unknown" });
  }

  const mark = (condition: Condition) => marked.set(condition.type, condition);

  const list = () => {
    const stamped = [...marked.values()].map((condition) =>
      stamp(condition, before.get(condition.type), now),
    );
    if (marked.has(READY)) return stamped.sort(byType);
    const ready = stamp(
      summarize(stamped.filter(({ type }) => dependents.includes(type))),
      before.get(READY),
      now,
    );
    return [...stamped, ready].sort(byType);
  };

  return {
    markTrue: (type, because) => void mark({ type, status: "True", ...because }),
    markFalse: (type, because) => void mark({ type, status: "False", ...because }),
    markUnknown: (type, because) => void mark({ type, status: "Unknown", ...because }),
    isReady: () => isReady(list()),
    list,
  };
}

/** The status of `type` in a stored list; an absent condition reads as undefined. */
export function findCondition(
  conditions: readonly Condition[] | undefined,
  type: string = READY,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isReady(conditions: readonly Condition[] | undefined): boolean {
  return findCondition(conditions)?.status === "True";
}

function summarize(dependents: readonly Condition[]): Condition {
  const failed = dependents
    .filter(({ status }) => status === "False")
    .reduce<Condition | undefined>((latest, each) => (isLater(each, latest) ? each : latest), undefined);
  const decisive = failed ?? dependents.find(({ status }) => status === "Unknown");
  if (decisive === undefined) return { type: READY, status: "True" };
  const { status, reason, message } = decisive;
  return { type: READY, status, reason, message };
}

function byType(a: Condition, b: Condition): number {
  return a.type < b.type ? -1 : 1;
}

function isLater(a: Condition, b: Condition | undefined): boolean {
  return b === undefined || (a.lastTransitionTime ?? "") > (b.lastTransitionTime ?? "");
}

function stamp(condition: Condition, before: Condition | undefined, now: string): Condition {
  const { type, status, severity, reason, message } = condition;
  const same =
    before !== undefined &&
    before.status === status &&
    before.severity === severity &&
    (before.reason ?? "") === (reason ?? "") &&
    (before.message ?? "") === (message ?? "");
  return {
    type,
    status,
    ...(severity === undefined ? {} : { severity }),
    lastTransitionTime: (same ? before.lastTransitionTime : undefined) ?? now,
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}
