/** `weft why EVENT_ID`: which triggers want an event and why, each attempt, and where it is now. */
import { z } from "zod";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";

const triggerSchema = z.looseObject({
  namespace: z.string(),
  name: z.string(),
  wanted: z.boolean(),
  because: z.array(z.string()),
  dataFilter: z.looseObject({ expression: z.string(), result: z.boolean() }).optional(),
  now: z.string(),
  attempts: z.array(
    z.looseObject({
      at: z.string(),
      phase: z.string(),
      ms: z.number(),
      status: z.number().nullable(),
      error: z.string().nullable(),
      body: z.string(),
    }),
  ),
  outcomes: z.array(
    z.looseObject({
      outcome: z.string(),
      at: z.string(),
      again: z.boolean(),
      ms: z.number(),
      attempts: z.number(),
      reply: z.looseObject({ type: z.string(), id: z.string() }).optional(),
      note: z.string().optional(),
      reason: z.string().optional(),
    }),
  ),
  deadLetters: z.array(z.string()),
});
type Trigger = z.output<typeof triggerSchema>;

const itemSchema = z.looseObject({
  namespace: z.string(),
  broker: z.string(),
  sequence: z.number().optional(),
  storedAt: z.string().optional(),
  delayedUntil: z.string().optional(),
  event: z.looseObject({ id: z.string(), type: z.string(), source: z.string() }),
  triggers: z.array(triggerSchema),
});
type Item = z.output<typeof itemSchema>;

export interface WhyOptions extends ServerOptions {
  readonly namespace?: string;
  readonly broker?: string;
  readonly source?: string;
  readonly json?: boolean;
}

export async function runWhy(id: string, options: WhyOptions, context: CliContext): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const query = new URLSearchParams();
  for (const name of ["namespace", "broker", "source"] as const) {
    const value = options[name];
    if (value !== undefined) query.set(name, value);
  }
  const answer = await client.json(`/weft/v1/why/${encodeURIComponent(id)}?${query}`);
  const { items } = z.object({ items: z.array(itemSchema) }).parse(answer);
  context.out(options.json ? `${JSON.stringify(answer)}\n` : items.map(formatItem).join("\n"));
  return 0;
}

function formatItem({ namespace, broker, sequence, storedAt, delayedUntil, event, triggers }: Item): string {
  const place =
    delayedUntil === undefined
      ? `in ${namespace}/${broker} at sequence ${sequence} since ${storedAt}`
      : `waits outside ${namespace}/${broker} until ${delayedUntil}`;
  const head = `${event.type} ${event.id} from ${event.source}\n  ${place}\n`;
  if (triggers.length === 0 && delayedUntil === undefined) return `${head}  The broker has no triggers.\n`;
  return head + triggers.map(formatTrigger).join("");
}

function formatTrigger(trigger: Trigger): string {
  const { namespace, name, wanted, because, dataFilter, now } = trigger;
  const data = dataFilter === undefined ? [] : [`data filter ${dataFilter.expression}: ${dataFilter.result}`];
  const lines = [
    `${namespace}/${name}: ${now}`,
    `  ${wanted ? "wants it" : "does not want it"}: ${[...because, ...data].join("; ")}`,
    ...trigger.attempts.map(
      ({ at, phase, status, error, ms, body }, i) =>
        `  ${at}  attempt ${i + 1}${phase === "sink" ? " at the dead-letter sink" : ""} failed: ` +
        `${status ?? "no answer"} ${error ?? ""} after ${ms} ms  ${body.replace(/\s+/g, " ").slice(0, 120)}`,
    ),
    ...trigger.outcomes.map(
      ({ at, outcome, again, attempts, reply, note, reason }) =>
        `  ${at}  ${outcome}${again ? " (redriven or replayed)" : ""} after ${attempts} attempt${attempts === 1 ? "" : "s"}` +
        `${reason === undefined ? "" : `: ${reason}`}${reply === undefined ? "" : ` → ${reply.type} ${reply.id}`}` +
        `${note === undefined ? "" : ` (${note})`}`,
    ),
    ...trigger.deadLetters.map((id) => `  dead letter ${id}; look: npx weft dead show ${id}`),
  ];
  return lines.map((line) => `  ${line.trimEnd()}\n`).join("");
}
