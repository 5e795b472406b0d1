/** Builds what a handler gets beside its event: deadline, trigger, log, and the events it may produce. */
import type { IncomingMessage } from "node:http";
import { type Clock, rfc3339 } from "../clock.ts";
import { fromAuthorEvent, toAuthorEvent } from "./author-event.ts";
import { emitEvent } from "./emit.ts";
import { completeEvent } from "./reply.ts";
import { requestReply } from "./request.ts";
import type { CloudEvent, CloudEventInput, Ctx, EventAttributes, Logger, RequestOptions } from "./sdk.ts";
import { toHeaders } from "./web.ts";

export interface FunctionIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  readonly instance: string;
}

export interface CtxSource {
  /** Its `weft-*` headers say who delivers: attempt, trigger, broker, deadline. */
  readonly request: IncomingMessage;
  /** undefined for plain HTTP. */
  readonly incoming: CloudEvent | undefined;
  readonly identity: FunctionIdentity;
  readonly timeoutMs: number;
  readonly ingressUrl: string | undefined;
  readonly replyType: string | undefined;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** A log with these fields in every line. */
  readonly log: (fields: Record<string, unknown>) => Logger;
  readonly waitUntil: (work: Promise<unknown>, log: Logger) => void;
}

const requestTimeoutMs = 30_000;
/** Of the time left, so much is kept for handling the answer of a request. */
const answerReserveMs = 50;

export type Complete = (input: EventAttributes & { readonly data?: unknown }) => CloudEvent;

/** `complete` fills in an event this call produces; each gets the next position, hence its own stable id. */
export function createCtx(source: CtxSource): { ctx: Ctx; complete: Complete } {
  const { request, incoming, identity, clock, signal } = source;
  const { headers } = request;
  const trigger = parsePair(headers["weft-trigger"]);
  const broker = parsePair(headers["weft-broker"]);
  const attempt = parsePositive(headers["weft-attempt"]) ?? 1;
  const log = source.log({
    ...(incoming === undefined ? {} : { event: incoming.id, type: incoming.type, source: incoming.source }),
    ...(trigger === undefined ? {} : { trigger: `${trigger.namespace}/${trigger.name}`, attempt }),
  });
  let index = 0;
  const complete: Complete = (input) =>
    completeEvent(input, {
      incoming,
      service: identity,
      replyType: source.replyType,
      index: index++,
      time: rfc3339(clock.now()),
    });
  const ctx: Ctx = {
    log,
    signal,
    deadline: Math.min(
      clock.now() + source.timeoutMs,
      parsePositive(headers["weft-deadline"]) ?? Number.POSITIVE_INFINITY,
    ),
    attempt,
    ...(trigger === undefined ? {} : { trigger: { ...trigger, broker: broker?.name ?? "default" } }),
    service: identity,
    headers: toHeaders(request),
    emit: async (event, options = {}) =>
      emitEvent(fromAuthorEvent(complete(event) as CloudEventInput), {
        ingressUrl: source.ingressUrl,
        namespace: broker?.namespace ?? identity.namespace,
        broker: options.broker ?? broker?.name,
        signal,
      }),
    request: async <T>(
      event: CloudEventInput,
      { broker: name, timeoutMs = requestTimeoutMs, replyType }: RequestOptions = {},
    ) => {
      const remainingMs = ctx.deadline - clock.now() - answerReserveMs;
      const reply = await requestReply(fromAuthorEvent(complete(event) as CloudEventInput), {
        ingressUrl: source.ingressUrl,
        namespace: broker?.namespace ?? identity.namespace,
        broker: name ?? broker?.name,
        replyType,
        waitMs: Math.max(0, Math.min(timeoutMs, remainingMs)),
        signal,
      });
      return toAuthorEvent(reply) as CloudEvent<T>;
    },
    reply: <T>(data: T, attributes: EventAttributes = {}) =>
      complete({ ...attributes, data }) as CloudEvent<T>,
    waitUntil: (work) => source.waitUntil(work, log),
  };
  return { ctx, complete };
}

function parsePair(header: string | string[] | undefined): { namespace: string; name: string } | undefined {
  const [namespace, name] = String(header ?? "").split("/");
  return namespace && name ? { namespace, name } : undefined;
}

function parsePositive(header: string | string[] | undefined): number | undefined {
  const value = Number(header);
  return header !== undefined && Number.isFinite(value) && value > 0 ? value : undefined;
}
