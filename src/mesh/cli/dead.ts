/** `weft dead list|show|redrive|discard`: dead letters, with what was tried. */
import { z } from "zod";
import { type Client, connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
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
  readonly all?: boolean;
  readonly json?: boolean;
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
  options: DeadOptions,
  context: CliContext,
): Promise<ExitCode> {
  return each({ ids, options, context, verb: "redriven" }, (client, id) =>
    client.json(`/weft/v1/dead-letters/${encodeURIComponent(id)}/redrive`, { method: "POST" }),
  );
}

export async function runDeadDiscard(
  ids: readonly string[],
  options: DeadOptions,
  context: CliContext,
): Promise<ExitCode> {
  return each({ ids, options, context, verb: "discarded" }, (client, id) =>
    client.json(`/weft/v1/dead-letters/${encodeURIComponent(id)}`, { method: "DELETE" }),
  );
}

interface Each {
  readonly ids: readonly string[];
  readonly options: DeadOptions;
  readonly context: CliContext;
  readonly verb: string;
}

async function each(
  { ids, options, context, verb }: Each,
  act: (client: Client, id: string) => Promise<unknown>,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const chosen = options.all ? (await listAll(client, options)).map(({ id }) => id) : ids;
  if (chosen.length === 0 && !options.all) {
    context.err("Name dead letters by id (see `weft dead list`), or say --all\n");
    return 2;
  }
  for (const id of chosen) {
    const answer = await act(client, id);
    context.out(options.json ? `${JSON.stringify(answer)}\n` : `${verb} ${id}\n`);
  }
  return 0;
}

async function listAll(client: Client, { namespace, broker, trigger }: DeadOptions): Promise<Letter[]> {
  const letters: Letter[] = [];
  let next: string | undefined;
  do {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ namespace, broker, trigger, continue: next })) {
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
