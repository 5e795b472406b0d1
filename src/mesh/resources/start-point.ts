/** Places in a broker's stream as people write them: where a trigger starts, is rewound to, is replayed from. */
import { z } from "zod";
import { parseDuration } from "../duration.ts";

export type StartPoint =
  | { readonly kind: "new" }
  | { readonly kind: "first" }
  | { readonly kind: "sequence"; readonly sequence: number }
  | { readonly kind: "time"; readonly atMs: number };

export const START_POINT_WANTED =
  'one of "new", "first", seq:<number>, time:<RFC 3339>, since:<ISO 8601 duration>';

/** Storage counts nanoseconds since 1970 in 64 bits: a time outside would come out at the other end. */
const TIME_MS_MAX = Date.UTC(2262, 0, 1);

const timestamp = z.iso.datetime({ offset: true });
const sequence = /^[1-9]\d{0,14}$/;

/** undefined when the text is no such place; `since` counts back from `nowMs`. */
export function parseStartPoint(text: string, nowMs: number): StartPoint | undefined {
  if (text === "new" || text === "first") return { kind: text };
  const colon = text.indexOf(":");
  const value = text.slice(colon + 1);
  switch (text.slice(0, Math.max(0, colon))) {
    case "seq":
      return sequence.test(value) ? { kind: "sequence", sequence: Number(value) } : undefined;
    case "time":
      return timestamp.safeParse(value).success ? timeAt(Date.parse(value)) : undefined;
    case "since": {
      const ms = parseDuration(value);
      return ms === undefined || ms < 0 ? undefined : timeAt(Math.round(nowMs - ms));
    }
    default:
      return undefined;
  }
}

function timeAt(ms: number): StartPoint {
  return { kind: "time", atMs: Math.min(Math.max(0, ms), TIME_MS_MAX) };
}

/** As parseStartPoint, but a bare number is a sequence and a bare timestamp a time, as a command line has them. */
export function parsePosition(text: string, nowMs: number): StartPoint | undefined {
  if (/^\d+$/.test(text)) return parseStartPoint(`seq:${text}`, nowMs);
  return timestamp.safeParse(text).success
    ? parseStartPoint(`time:${text}`, nowMs)
    : parseStartPoint(text, nowMs);
}

/** `seq:<number>@<RFC 3339>`: from where, and when that was asked; the same text twice asks once. */
export function parseRewind(text: string): { sequence: number; at: string } | undefined {
  const [place = "", at = "", ...more] = text.split("@");
  const point = parseStartPoint(place, 0);
  if (point?.kind !== "sequence" || more.length > 0 || !timestamp.safeParse(at).success) return undefined;
  return { sequence: point.sequence, at };
}

export function formatRewind({ sequence, at }: { sequence: number; at: string }): string {
  return `seq:${sequence}@${at}`;
}
