/** One compact line for what happened to one event; what `up` and `tail` print. */
import type { JournalRecord } from "../journal/record.ts";

export function formatRecord(record: JournalRecord): string {
  const time = record.at.slice(11, 23);
  const event = `${record.type} ${record.id}`;
  switch (record.kind) {
    case "unmatched":
      return `${time}  unmatched  ${record.broker}  ${event}  no trigger wants it`;
    case "attempt": {
      const what = record.phase === "sink" ? "dead-letter sink failed" : "failed";
      const next =
        record.retryAfterMs === undefined
          ? `gives up: ${record.dead}`
          : `retry in ${formatMs(record.retryAfterMs)}`;
      return `${time}  ${what}  ${record.trigger}  ${event}  attempt ${record.attempt}: ${describeFailure(record)}, ${next}`;
    }
    case "outcome":
      return `${time}  ${outcomeNames[record.outcome]}  ${record.trigger}  ${event}${outcomeDetail(record)}`;
  }
}

const outcomeNames = {
  delivered: "delivered",
  filtered: "filtered",
  expired: "expired",
  dead: "DEAD",
  deadToSink: "dead → sink",
} as const;

type Outcome = Extract<JournalRecord, { kind: "outcome" }>;
type Attempt = Extract<JournalRecord, { kind: "attempt" }>;

function outcomeDetail(record: Outcome): string {
  switch (record.outcome) {
    case "delivered": {
      const reply = record.reply === undefined ? "" : `  → ${record.reply.type}`;
      const note = record.note === undefined ? "" : `  (${record.note})`;
      const attempts = record.attempts > 1 ? `, attempt ${record.attempts}` : "";
      return `  ${formatMs(record.ms)}${attempts}${reply}${note}`;
    }
    case "dead":
      return `  ${record.reason} after ${plural(record.attempts)}; see: npx weft dead list`;
    case "deadToSink":
      return `  ${record.reason} after ${plural(record.attempts)}`;
    case "filtered":
    case "expired":
      return "";
  }
}

function describeFailure({ status, error, message, body }: Attempt): string {
  const said =
    body === undefined ? "" : Buffer.from(body, "base64").toString("utf8").replace(/\s+/g, " ").slice(0, 160);
  const text = status === undefined ? `${error}${message === undefined ? "" : ` (${message})`}` : `${status}`;
  return said === "" ? text : `${text} ${said}`;
}

function plural(attempts: number): string {
  return attempts === 1 ? "1 attempt" : `${attempts} attempts`;
}

function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms * 10) / 10} ms` : `${Math.round(ms / 100) / 10} s`;
}
