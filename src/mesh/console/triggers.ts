/**
 * What operators do with a trigger over HTTP: pause, resume, rewind, replay. The first three write annotations on
 * the Trigger, so that they last and any process obeys; each answers once the route says so.
 *
 *   POST /weft/v1/triggers/<namespace>/<name>/pause | resume
 *   POST …/rewind  {"to": "first|seq:N|time:T|since:D"}
 *   POST …/replay  {"from": TIME|SEQ, "to"?: TIME|SEQ, "perSecond"?: N, "dryRun"?: true} → JSON lines
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Context, Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import { type Clock, rfc3339 } from "../clock.ts";
import { annotateTrigger, requireTrigger, type TriggerName } from "../control/trigger-annotations.ts";
import { type ReplayParts, type ReplayStep, startReplay } from "../dispatch/replay.ts";
import { MeshError } from "../errors.ts";
import { PAUSED, REWIND } from "../resources/annotations.ts";
import {
  formatRewind,
  parsePosition,
  parseStartPoint,
  START_POINT_WANTED,
  type StartPoint,
} from "../resources/start-point.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import type { Store } from "../store/store.ts";
import { consumerInfo } from "../stream/consumer.ts";
import { sequenceAt } from "../stream/position.ts";
import { eventStream } from "../stream/subjects.ts";

export interface TriggerDesk extends ReplayParts {
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly store: Store;
  readonly table: RouteTable;
}

/** How long an answer waits for the change to be in force. */
const effectMsMax = 10_000;
const perSecondMax = 100_000;

const rewindSchema = z.strictObject({ to: z.string() });
const position = z.union([z.string(), z.number().transform(String)]);
const replaySchema = z.strictObject({
  from: position,
  to: position.optional(),
  perSecond: z.number().positive().max(perSecondMax).optional(),
  dryRun: z.boolean().default(false),
});

/** `desk` throws while the mesh is still starting. */
export function mountTriggers(app: Hono, desk: () => TriggerDesk): void {
  const path = "/weft/v1/triggers/:namespace/:name";
  app.post(`${path}/pause`, async (c) => c.json(await setPaused(desk(), nameOf(c), true)));
  app.post(`${path}/resume`, async (c) => c.json(await setPaused(desk(), nameOf(c), false)));
  app.post(`${path}/rewind`, async (c) => {
    const { to } = await bodyOf(c, rewindSchema);
    return c.json(await rewind(desk(), nameOf(c), to));
  });
  app.post(`${path}/replay`, async (c) => {
    const asked = await bodyOf(c, replaySchema);
    const stop = new AbortController();
    const steps = await replay(desk(), nameOf(c), { ...asked, signal: stop.signal });
    c.header("content-type", "application/x-ndjson");
    return stream(
      c,
      async (out) => {
        out.onAbort(() => stop.abort());
        for await (const step of steps) await out.write(`${JSON.stringify(step)}\n`);
      },
      // Whoever reads misses the end line and knows from the last one how far it came.
      async () => {},
    );
  });
}

async function setPaused(desk: TriggerDesk, key: TriggerName, paused: boolean): Promise<object> {
  await annotateTrigger(desk.store, key, { [PAUSED]: `${paused}` });
  const inForce = await becomes(desk, key, (route) => route.paused === paused);
  return { ...key, paused, inForce };
}

async function rewind(desk: TriggerDesk, key: TriggerName, to: string): Promise<object> {
  const { jsm, clock, store } = desk;
  const { route, broker } = served(desk, key);
  const target = readPosition("to", to, parseStartPoint(to, clock.now()));
  const info = await consumerInfo(jsm, eventStream(broker), route.uid);
  // What the trigger still owes is never skipped.
  const owedFrom = info === undefined ? Number.POSITIVE_INFINITY : info.ack_floor.stream_seq + 1;
  const sequence = Math.max(1, Math.min(await sequenceAt(jsm, eventStream(broker), target), owedFrom));
  const at = rfc3339(clock.now());
  await annotateTrigger(store, key, { [REWIND]: formatRewind({ sequence, at }) });
  const inForce = await becomes(desk, key, (now) => now.rewind?.at === at);
  return { ...key, sequence, inForce };
}

async function replay(
  desk: TriggerDesk,
  key: TriggerName,
  { from, to, perSecond, dryRun, signal }: z.output<typeof replaySchema> & { signal: AbortSignal },
): Promise<AsyncGenerator<ReplayStep>> {
  const nowMs = desk.clock.now();
  return startReplay(desk, {
    ...served(desk, key),
    from: readPosition("from", from, parsePosition(from, nowMs)),
    to: to === undefined ? undefined : readPosition("to", to, parsePosition(to, nowMs)),
    perSecond,
    dryRun,
    signal,
  });
}

/** The trigger with its broker, as they are served now. */
function served(
  { store, table }: TriggerDesk,
  key: TriggerName,
): { route: TriggerRoute; broker: BrokerRoute } {
  const { uid } = requireTrigger(store, key).metadata;
  const route = table.routes.triggers.find((each) => each.uid === uid);
  const broker = route && table.broker(`${route.namespace}/${route.broker}`);
  if (route !== undefined && broker !== undefined) return { route, broker };
  throw new MeshError("NOT_FOUND", {
    field: "trigger",
    found: `${key.namespace}/${key.name}, which is not served`,
    fix: "`weft get triggers` says why",
  });
}

function readPosition(field: string, text: string, point: StartPoint | undefined): StartPoint {
  if (point !== undefined && point.kind !== "new") return point;
  throw new MeshError("REQUEST_INVALID", {
    field,
    expected: START_POINT_WANTED.replace('"new", ', ""),
    found: `"${text.slice(0, 100)}"`,
  });
}

/** Whether the trigger's route came to be so within `effectMsMax`. */
function becomes(
  { store, table, clock }: TriggerDesk,
  key: TriggerName,
  isSo: (route: TriggerRoute) => boolean,
): Promise<boolean> {
  const { uid } = requireTrigger(store, key).metadata;
  const holds = () => table.routes.triggers.some((route) => route.uid === uid && isSo(route));
  return new Promise((resolve) => {
    const settle = (inForce: boolean) => {
      change.close();
      late.cancel();
      resolve(inForce);
    };
    const change = table.onChange(() => {
      if (holds()) settle(true);
    });
    const late = clock.after(effectMsMax, () => settle(false));
    if (holds()) settle(true);
  });
}

function nameOf(c: Context): TriggerName {
  return { namespace: c.req.param("namespace") ?? "", name: c.req.param("name") ?? "" };
}

async function bodyOf<T extends z.ZodType>(c: Context, schema: T): Promise<z.output<T>> {
  const parsed = schema.safeParse(await c.req.json().catch(() => undefined));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new MeshError("REQUEST_INVALID", {
    field: issue?.path.join(".") || "body",
    found: issue?.message ?? "no JSON object",
  });
}
