/** The dead letters of all brokers over HTTP: listed in pages, shown, redriven, discarded (DESIGN §10). */
import { z } from "zod";
import type { DeadLetter, DeadLetters } from "../dispatch/dead-letter.ts";
import { MeshError } from "../errors.ts";
import { toJsonObject } from "../event/json.ts";
import type { BrokerRoute } from "../routes/route.ts";

const pageDefault = 1000;
const pageMax = 10_000;

export const deadLetterQuerySchema = z.object({
  namespace: z.string().optional(),
  broker: z.string().optional(),
  trigger: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(pageMax).default(pageDefault),
  continue: z.string().max(2000).optional(),
});
export type DeadLetterQuery = z.output<typeof deadLetterQuerySchema>;

const continueSchema = z.tuple([z.string(), z.number().int().min(1)]);

export interface DeadLetterPage {
  readonly items: readonly Record<string, unknown>[];
  /** Where the next page starts; absent on the last one. */
  readonly continue?: string;
}

/** One page, brokers in order of namespace and name, oldest letter first. */
export async function listDeadLetters(
  deadLetters: DeadLetters,
  brokers: readonly BrokerRoute[],
  query: DeadLetterQuery,
): Promise<DeadLetterPage> {
  const start = query.continue === undefined ? undefined : decodeContinue(query.continue);
  const asked = brokers
    .filter(({ namespace }) => query.namespace === undefined || namespace === query.namespace)
    .filter(({ name }) => query.broker === undefined || name === query.broker)
    .map((broker) => ({ broker, path: `${broker.namespace}/${broker.name}` }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const items: Record<string, unknown>[] = [];
  for (const { broker, path } of asked) {
    if (start !== undefined && path < start[0]) continue;
    const room = query.limit - items.length;
    if (room === 0) return { items, continue: encodeContinue([path, 1]) };
    const from = path === start?.[0] ? start[1] : 1;
    const page = await deadLetters.list(broker, { trigger: query.trigger, from, limit: room });
    items.push(...page.items.map(toJson));
    if (page.next !== undefined) return { items, continue: encodeContinue([path, page.next]) };
  }
  return { items };
}

export function toJson(letter: DeadLetter): Record<string, unknown> {
  const { triggerUid: _internal, event, ...shown } = letter;
  return { ...shown, event: toJsonObject(event) };
}

function encodeContinue(place: readonly [string, number]): string {
  return Buffer.from(JSON.stringify(place)).toString("base64url");
}

function decodeContinue(token: string): readonly [string, number] {
  try {
    return continueSchema.parse(JSON.parse(Buffer.from(token, "base64url").toString("utf8")));
  } catch (cause) {
    throw new MeshError("REQUEST_INVALID", {
      field: "continue",
      expected: "the token of the page before",
      found: token.slice(0, 40),
      cause,
    });
  }
}
