/** `weft pause|resume|rewind|replay TRIGGER`: what operators do with a trigger. */
import { z } from "zod";
import { MeshError } from "../errors.ts";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { parseRate } from "./rate.ts";

export interface TriggerOptions extends ServerOptions {
  readonly namespace: string;
  readonly json?: boolean;
}

export interface ReplayOptions extends TriggerOptions {
  readonly from: string;
  readonly to?: string;
  readonly rate?: string;
  readonly dryRun?: boolean;
}

const pausedSchema = z.object({ paused: z.boolean(), inForce: z.boolean() });
const rewoundSchema = z.object({ sequence: z.number(), inForce: z.boolean() });
const stepSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("event"),
    sequence: z.number(),
    storedAt: z.string(),
    id: z.string(),
    source: z.string(),
    type: z.string(),
  }),
  z.object({ kind: z.literal("progress"), sequence: z.number(), matched: z.number() }),
  z.object({
    kind: z.literal("end"),
    replay: z.string().optional(),
    fromSequence: z.number(),
    toSequence: z.number(),
    matched: z.number(),
    unreadable: z.number(),
    stopped: z.boolean(),
  }),
]);
type Step = z.output<typeof stepSchema>;

export async function runPause(
  trigger: string,
  { verb, ...options }: TriggerOptions & { verb: "pause" | "resume" },
  context: CliContext,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const answer = await client.json(pathOf(trigger, options, verb), { method: "POST" });
  const { paused, inForce } = pausedSchema.parse(answer);
  context.out(
    options.json
      ? `${JSON.stringify(answer)}\n`
      : `${options.namespace}/${trigger} ${paused ? "paused: events wait for it" : "resumed"}\n`,
  );
  return report(inForce, context);
}

export async function runRewind(
  trigger: string,
  options: TriggerOptions & { to: string },
  context: CliContext,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const answer = await client.json(pathOf(trigger, options, "rewind"), post({ to: position(options.to) }));
  const { sequence, inForce } = rewoundSchema.parse(answer);
  context.out(
    options.json
      ? `${JSON.stringify(answer)}\n`
      : `${options.namespace}/${trigger} rewound: everything from sequence ${sequence} comes again\n`,
  );
  return report(inForce, context);
}

export async function runReplay(
  trigger: string,
  options: ReplayOptions,
  context: CliContext,
): Promise<ExitCode> {
  const perSecond = parseRate(options.rate);
  const { from, to, dryRun = false } = options;
  const client = await connectClient(options, context);
  const asked = {
    from,
    ...(to === undefined ? {} : { to }),
    ...(perSecond === undefined ? {} : { perSecond }),
    dryRun,
  };
  const response = await client.request(pathOf(trigger, options, "replay"), post(asked));
  let last: Step | undefined;
  try {
    for await (const line of linesOf(response)) {
      last = stepSchema.parse(JSON.parse(line));
      context.out(options.json ? `${line}\n` : describe(last, { trigger, options }));
    }
  } catch (error) {
    if (error instanceof MeshError) throw error;
    last = last?.kind === "end" ? undefined : last;
  }
  if (last?.kind === "end") return last.stopped ? 1 : 0;
  const next = last === undefined ? from : `${last.sequence + 1}`;
  context.err(`The replay was cut short; go on with --from ${next}\n`);
  return 1;
}

function describe(step: Step, { trigger, options }: { trigger: string; options: ReplayOptions }): string {
  switch (step.kind) {
    case "event":
      return `${step.sequence}  ${step.storedAt}  ${step.type}  ${step.id}  ${step.source}\n`;
    case "progress":
      return "";
    case "end": {
      const events = `${step.matched} event${step.matched === 1 ? "" : "s"}`;
      const place = `sequences ${step.fromSequence} to ${step.toSequence}`;
      const noise = step.unreadable === 0 ? "" : `; ${step.unreadable} messages there are no events`;
      return options.dryRun
        ? `${events} would be replayed to ${options.namespace}/${trigger} (${place}${noise})\n`
        : `${events} replayed to ${options.namespace}/${trigger} (${place}${noise}), marked weftreplay=${step.replay}\n`;
    }
  }
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body ?? []) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** A bare number or timestamp is as good as `seq:` or `time:`. */
function position(text: string): string {
  if (/^\d+$/.test(text)) return `seq:${text}`;
  return /^\d{4}-\d\d-\d\d[Tt]/.test(text) ? `time:${text}` : text;
}

function report(inForce: boolean, { err }: CliContext): ExitCode {
  if (inForce) return 0;
  err("It is written down, but not in force yet; see `weft get triggers`\n");
  return 1;
}

function post(body: unknown): RequestInit {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

function pathOf(trigger: string, { namespace }: TriggerOptions, verb: string): string {
  return `/weft/v1/triggers/${encodeURIComponent(namespace)}/${encodeURIComponent(trigger)}/${verb}`;
}
