/**
 * Structured logs on stderr: constant text plus fields (`stage` is the folder name, then `event`, `trigger`,
 * `attempt`). stdout belongs to what the user asked for.
 */
import { pino } from "pino";

export interface Log {
  debug(fields: Record<string, unknown>, text: string): void;
  info(fields: Record<string, unknown>, text: string): void;
  warn(fields: Record<string, unknown>, text: string): void;
  error(fields: Record<string, unknown>, text: string): void;
  /** The same log with fields that every line repeats. */
  child(fields: Record<string, unknown>): Log;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export function createLog(level: LogLevel): Log {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
}

export const silentLog: Log = createLog("silent");
