/**
 * What functions print, as a person wants to read it: their JSON log lines as text with the fields that are
 * theirs, an error with the place in their own code. Everything else is shown as it is.
 */
import { relative } from "node:path";
import { z } from "zod";
import { rfc3339 } from "../clock.ts";
import type { LogLine } from "../host/instance.ts";

const logLineSchema = z.looseObject({
  level: z.string(),
  msg: z.string(),
  error: z.looseObject({ message: z.string(), stack: z.string().optional() }).optional(),
});
type Logged = z.output<typeof logLineSchema>;

/** What every line of a function's log carries about the delivery; the delivery has a line of its own. */
const aboutTheDelivery = new Set([
  "time",
  "level",
  "msg",
  "error",
  "event",
  "type",
  "source",
  "trigger",
  "attempt",
]);
const fieldCharsMax = 200;

export function formatFunctionLine(
  { service, stream, line }: LogLine,
  { nowMs, workingDirectory }: { nowMs: number; workingDirectory: string },
): string {
  const logged = parse(line);
  const isTrouble = stream === "stderr" || logged?.level === "error" || logged?.level === "warn";
  const text = logged === undefined ? line : formatLogged(logged, workingDirectory);
  return `${rfc3339(nowMs).slice(11, 23)}  ${service} ${isTrouble ? "!" : "|"} ${text}`;
}

function parse(line: string): Logged | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return logLineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

function formatLogged(logged: Logged, workingDirectory: string): string {
  const fields = Object.entries(logged)
    .filter(([name]) => !aboutTheDelivery.has(name))
    .map(
      ([name, value]) => `  ${name}=${shorten(typeof value === "string" ? value : JSON.stringify(value))}`,
    );
  const error =
    logged.error === undefined
      ? ""
      : `: ${logged.error.message}${place(logged.error.stack, workingDirectory)}`;
  return `${logged.msg}${error}${fields.join("")}`;
}

function shorten(text: string): string {
  return text.length > fieldCharsMax ? `${text.slice(0, fieldCharsMax)}…` : text;
}

/** The first place in a stack that is in the user's own folder, and not in a package. */
function place(stack: string | undefined, workingDirectory: string): string {
  for (const [, file, line, column] of stack?.matchAll(/(\/[^\s()]+):(\d+):(\d+)/g) ?? []) {
    const path = relative(workingDirectory, file ?? "");
    if (!path.startsWith("..") && !path.includes("node_modules") && !path.startsWith("src/mesh/")) {
      return ` (${path}:${line}:${column})`;
    }
  }
  return "";
}
