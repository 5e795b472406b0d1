/** `weft dead list|show|redrive|discard`: dead letters, with what was tried. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { z } from "zod";
import { systemClock } from "../clock.ts";
import { decodeJson } from "../event/json.ts";
import { type Client, connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { editText } from "./editor.ts";
import { paced, parseRate } from "./rate.ts";
import { readStdin } from "./stdin.ts";
import { formatTable } from "./table.ts";

const attemptSchema = z.looseObject({
  at: z.string(),
  ms: z.number(),
  status: z.number().nullable(),
  error: z.string().nullable(),
  body: z.string(),
});
const letterSchema = z.looseObject({
  id: z.string(),
  namespace: z.string(),
  broker: z.string(),
  trigger: z.string(),
  reason: z.string(),
  at: z.string(),
  event: z.looseObject({ id: z.string(), type: z.string(), source: z.string() }),
  attempts: z.array(attemptSchema),
  sinkAttempts: z.array(attemptSchema),
});
type Letter = z.output<typeof letterSchema>;
const pageSchema = z.object({ items: z.array(letterSchema), continue: z.string().optional() });

export interface DeadOptions extends ServerOptions {
  readonly namespace?: string;
  readonly broker?: string;
  readonly trigger?: string;
  readonly type?: string;
  readonly reason?: string;
  readonly since?: string;
  readonly json?: boolean;
}

export interface ChosenOptions extends DeadOptions {
  readonly all?: boolean;
  readonly rate?: string;
  readonly dryRun?: boolean;
}

export interface RedriveOptions extends ChosenOptions {
  /** A file, `-` for stdin, or true for the editor. */
  readonly edit?: string | boolean;
}

export async function runDeadList(options: DeadOptions, context: CliContext): Promise<ExitCode> {
  const letters = await listAll(await connectClient(options, context), options);
  if (options.json) {
    context.out(`${JSON.stringify({ items: letters })}\n`);
    return 0;
  }
  if (letters.length === 0) {
    context.out("No dead letters.\n");
    return 0;
  }
  context.out(
    formatTable(
      ["ID", "TRIGGER", "TYPE", "EVENT", "REASON", "ATTEMPTS", "AT"],
      letters.map(({ id, namespace, trigger, event, reason, attempts, at }) => [
        id,
        `${namespace}/${trigger}`,
        event.type,
        event.id,
        reason,
        `${attempts.length}`,
        at,
      ]),
    ),
  );
  context.out("\nLook at one: npx weft dead show ID    Send it again: npx weft dead redrive ID\n");
  return 0;
}

export async function runDeadShow(id: string, options: DeadOptions, context: CliContext): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const letter = letterSchema.parse(await client.json(`/weft/v1/dead-letters/${encodeURIComponent(id)}`));
  context.out(options.json ? `${JSON.stringify(letter)}\n` : formatLetter(letter));
  return 0;
}

export async function runDeadRedrive(
  ids: readonly string[],
  options: RedriveOptions,
  context: CliContext,
): Promise<ExitCode> {
  if (options.edit !== undefined) return redriveEdited(ids, options, context);
  return each({ ids, options, context, verb: "redriven" }, (client, id) =>
    client.json(`/weft/v1/dead-letters/${encodeURIComponent(id)}/redrive`, { method: "POST" }),
  );
}

export async function runDeadDiscard(
  ids: readonly string[],
  options: ChosenOptions,
  context: CliContext,
): Promise<ExitCode> {
  return each({ ids, options, context, verb: "discarded" }, (client, id) =>
    client.json(`/weft/v1/dead-letters/${encodeURIComponent(id)}`, { method: "DELETE" }),
  );
}

async function redriveEdited(
  ids: readonly string[],
  options: RedriveOptions,
  context: CliContext,
): Promise<ExitCode> {
  // `--edit ID`: what follows the option was meant as the id.
  const isId = ids.length === 0 && typeof options.edit === "string" && options.edit !== "-";
  const [id, ...more] = isId ? [`${options.edit}`] : ids;
  if (id === undefined || more.length > 0 || options.all) {
    context.err("--edit changes one event: name one dead letter by its id\n");
    return 2;
  }
  const client = await connectClient(options, context);
  const path = `/weft/v1/dead-letters/${encodeURIComponent(id)}`;
  const edited = await editedEvent(isId ? true : options.edit, { path, client, context });
  if (edited.trim() === "") {
    context.err("Nothing was sent: the edited event is empty\n");
    return 1;
  }
  // The mesh refuses what is no event; checked here too, so that a dry run says the same.
  decodeJson(Buffer.from(edited.trim()));
  if (options.dryRun) return announce({ id, options, context });
  const answer = await client.json(`${path}/redrive`, {
    method: "POST",
    headers: { "content-type": "application/cloudevents+json" },
    body: edited.trim(),
  });
  context.out(options.json ? `${JSON.stringify(answer)}\n` : `redriven ${id}, edited\n`);
  return 0;
}

async function editedEvent(
  edit: RedriveOptions["edit"],
  { path, client, context }: { path: string; client: Client; context: CliContext },
): Promise<string> {
  if (edit === "-") return readStdin(context);
  if (typeof edit === "string") return readFile(resolve(context.workingDirectory, edit), "utf8");
  const { event } = letterSchema.parse(await client.json(path));
  return editText(`${JSON.stringify(event, null, 2)}\n`, { name: "event.json", context });
}

interface Each {
  readonly ids: readonly string[];
  readonly options: ChosenOptions;
  readonly context: CliContext;
  readonly verb: string;
}

async function each(
  { ids, options, context, verb }: Each,
  act: (client: Client, id: string) => Promise<unknown>,
): Promise<ExitCode> {
  const perSecond = parseRate(options.rate);
  const client = await connectClient(options, context);
  const chosen = options.all ? (await listAll(client, options)).map(({ id }) => id) : ids;
  if (chosen.length === 0 && !options.all) {
    context.err("Name dead letters by id (see `weft dead list`), or say --all\n");
    return 2;
  }
  for await (const id of paced(chosen, { perSecond, clock: systemClock, stop: context.stop })) {
    if (options.dryRun) {
      announce({ id, options, context });
      continue;
    }
    const answer = await act(client, id);
    context.out(options.json ? `${JSON.stringify(answer)}\n` : `${verb} ${id}\n`);
  }
  return context.stop.aborted ? 1 : 0;
}

function announce({ id, options, context }: Pick<Each, "options" | "context"> & { id: string }): ExitCode {
  context.out(options.json ? `${JSON.stringify({ id, dryRun: true })}\n` : `would take ${id}\n`);
  return 0;
}

async function listAll(client: Client, options: DeadOptions): Promise<Letter[]> {
  const { namespace, broker, trigger, type, reason, since } = options;
  const letters: Letter[] = [];
  let next: string | undefined;
  do {
    const query = new URLSearchParams();
    const asked = { namespace, broker, trigger, type, reason, since, continue: next };
    for (const [name, value] of Object.entries(asked)) {
      if (value !== undefined) query.set(name, value);
    }
    const page = pageSchema.parse(await client.json(`/weft/v1/dead-letters?${query}`));
    letters.push(...page.items);
    next = page.continue;
  } while (next !== undefined);
  return letters;
}

function formatLetter(letter: Letter): string {
  const { id, namespace, broker, trigger, reason, at, event, attempts, sinkAttempts } = letter;
  const lines = [
    `${id}`,
    `  trigger   ${namespace}/${trigger} (broker ${namespace}/${broker})`,
    `  reason    ${reason}, ${at}`,
    ...formatAttempts("attempts", attempts),
    ...(sinkAttempts.length === 0 ? [] : formatAttempts("attempts at the dead-letter sink", sinkAttempts)),
    "  event",
    ...JSON.stringify(event, null, 2)
      .split("\n")
      .map((line) => `    ${line}`),
    "",
    `  Send it again: npx weft dead redrive ${id}`,
  ];
  return `${lines.join("\n")}\n`;
}

function formatAttempts(title: string, attempts: Letter["attempts"]): string[] {
  const rows = attempts.map(({ at, ms, status, error, body }, i) => {
    const said = body.replace(/\s+/g, " ").trim();
    return `    ${i + 1}. ${at}  ${status ?? "no answer"}  ${error ?? ""}  ${ms} ms${said === "" ? "" : `\n       ${said}`}`;
  });
  return [`  ${title}`, ...(rows.length === 0 ? ["    none in the journal"] : rows)];
}
