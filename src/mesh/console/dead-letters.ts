/** The dead letters of all brokers over HTTP: listed in pages, shown, redriven, edited, discarded (DESIGN §10). */
import type { Hono } from "hono";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import type { DeadLetter, DeadLetters } from "../dispatch/dead-letter.ts";
import { MeshError } from "../errors.ts";
import { decodeJson, toJsonObject } from "../event/json.ts";
import { parseStartPoint } from "../resources/start-point.ts";
import type { BrokerRoute } from "../routes/route.ts";

const pageDefault = 1000;
const pageMax = 10_000;

export const deadLetterQuerySchema = z.object({
  namespace: z.string().optional(),
  broker: z.string().optional(),
  trigger: z.string().optional(),
  /** Of the event. */
  type: z.string().optional(),
  reason: z.string().optional(),
  /** RFC 3339, or an ISO 8601 duration that counts back from now. */
  since: z.string().max(100).optional(),
  limit: z.coerce.number().int().min(1).max(pageMax).default(pageDefault),
  continue: z.string().max(2000).optional(),
});
export type DeadLetterQuery = z.output<typeof deadLetterQuerySchema>;

export interface DeadLetterParts {
  readonly clock: Clock;
  readonly brokers: () => readonly BrokerRoute[];
  /** undefined while the mesh is still starting. */
  readonly deadLetters: () => DeadLetters | undefined;
  readonly triggerUid: (namespace: string, name: string) => string | undefined;
}

/**
 *   GET    /weft/v1/dead-letters?namespace=&broker=&trigger=&type=&reason=&since=&limit=&continue=
 *   GET    /weft/v1/dead-letters/<id>
 *   POST   /weft/v1/dead-letters/<id>/redrive   with an event in CloudEvents JSON: sends that in its place
 *   DELETE /weft/v1/dead-letters/<id>
 */
export function mountDeadLetters(app: Hono, parts: DeadLetterParts): void {
  const path = "/weft/v1/dead-letters";
  app.get(path, async (c) => {
    const query = deadLetterQuerySchema.safeParse(c.req.query());
    if (!query.success) {
      const issue = query.error.issues[0];
      throw new MeshError("REQUEST_INVALID", {
        field: issue?.path.join(".") ?? "query",
        found: issue?.message ?? "an unreadable query",
      });
    }
    return c.json(
      await listDeadLetters(storeOf(parts), parts.brokers(), { query: query.data, nowMs: parts.clock.now() }),
    );
  });
  app.get(`${path}/:id`, async (c) => c.json(toJson(await storeOf(parts).get(c.req.param("id")))));
  app.post(`${path}/:id/redrive`, async (c) => {
    const body = new Uint8Array(await c.req.arrayBuffer());
    const edited = body.length === 0 ? undefined : decodeJson(body);
    const uidOf = ({ namespace, trigger }: DeadLetter) => parts.triggerUid(namespace, trigger);
    const { id, namespace, trigger } = await storeOf(parts).redrive(c.req.param("id"), uidOf, edited);
    return c.json({ id, namespace, trigger, redriven: true, edited: edited !== undefined }, 202);
  });
  app.delete(`${path}/:id`, async (c) => {
    const { id } = await storeOf(parts).get(c.req.param("id"));
    await storeOf(parts).discard(id);
    return c.json({ id, discarded: true });
  });
}

function storeOf(parts: DeadLetterParts): DeadLetters {
  const store = parts.deadLetters();
  if (store !== undefined) return store;
  throw new MeshError("STORAGE_UNAVAILABLE", { found: "the mesh is still starting" });
}

const continueSchema = z.tuple([z.string(), z.number().int().min(1)]);

export interface DeadLetterPage {
  readonly items: readonly Record<string, unknown>[];
  /** Where the next page starts; absent on the last one. */
  readonly continue?: string;
}

/** Whether a letter is one of those asked for, the trigger aside. Throws REQUEST_INVALID. */
export function deadLetterFilter(
  { type, reason, since }: Pick<DeadLetterQuery, "type" | "reason" | "since">,
  nowMs: number,
): (letter: DeadLetter) => boolean {
  const sinceMs = since === undefined ? undefined : sinceMsOf(since, nowMs);
  return ({ event, at, reason: why }) =>
    (type === undefined || event.attributes.type === type) &&
    (reason === undefined || why === reason) &&
    (sinceMs === undefined || Date.parse(at) >= sinceMs);
}

function sinceMsOf(since: string, nowMs: number): number {
  const point = parseStartPoint(`since:${since}`, nowMs) ?? parseStartPoint(`time:${since}`, nowMs);
  if (point?.kind === "time") return point.atMs;
  throw new MeshError("REQUEST_INVALID", {
    field: "since",
    expected: "an RFC 3339 timestamp, or an ISO 8601 duration such as PT1H",
    found: `"${since}"`,
  });
}

/** One page, brokers in order of namespace and name, oldest letter first. */
export async function listDeadLetters(
  deadLetters: DeadLetters,
  brokers: readonly BrokerRoute[],
  { query, nowMs }: { query: DeadLetterQuery; nowMs: number },
): Promise<DeadLetterPage> {
  const wants = deadLetterFilter(query, nowMs);
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
    const page = await deadLetters.list(broker, { trigger: query.trigger, from, limit: room, wants });
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
