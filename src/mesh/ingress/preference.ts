/** `Prefer: wait=SECONDS` (RFC 7240): whether, and how long, a sender waits for the reply. Pure. */

export interface WaitBounds {
  /** For `wait` without a number, and for NATS clients that say nothing. */
  readonly defaultMs: number;
  /** What is asked beyond it is cut to it. */
  readonly maxMs: number;
}

/** Milliseconds; undefined when the sender does not ask to wait, or not in a form that can be honoured. */
export function waitMsOf(
  prefer: string | readonly string[] | undefined,
  { defaultMs, maxMs }: WaitBounds,
): number | undefined {
  if (prefer === undefined) return undefined;
  for (const preference of String(prefer).split(",")) {
    const [name = "", ...rest] = (preference.split(";")[0] ?? "").split("=");
    if (name.trim().toLowerCase() !== "wait") continue;
    // The first of several counts (RFC 7240 §2).
    const value = rest
      .join("=")
      .trim()
      .replace(/^"(.*)"$/, "$1");
    if (value === "") return Math.min(defaultMs, maxMs);
    return /^\d{1,9}(?:\.\d{1,3})?$/.test(value) ? Math.min(Number(value) * 1000, maxMs) : undefined;
  }
  return undefined;
}

/** What `Preference-Applied` says. */
export function appliedWait(waitMs: number): string {
  return `wait=${waitMs / 1000}`;
}
