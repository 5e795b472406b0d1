/** The function's log: one JSON line per call on stdout, where the host reads it. */
import { type Clock, rfc3339 } from "../clock.ts";
import type { Logger } from "./sdk.ts";

/** `fields` are repeated in every line; `write` takes one line without its newline. */
export function createJsonLog(
  fields: Record<string, unknown>,
  { clock, write }: { clock: Clock; write: (line: string) => void },
): Logger {
  const log = (level: string) => (text: string, more?: Record<string, unknown>) =>
    write(stringify({ time: rfc3339(clock.now()), level, msg: text, ...fields, ...more }));
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

/** An Error among the fields keeps its message and stack; what JSON cannot hold must not break the caller. */
function stringify(line: Record<string, unknown>): string {
  try {
    return JSON.stringify(line, (_, value: unknown) => {
      if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack };
      return typeof value === "bigint" ? String(value) : value;
    });
  } catch {
    return JSON.stringify({ time: line.time, level: line.level, msg: line.msg, unloggable: true });
  }
}
