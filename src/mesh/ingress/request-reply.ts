/**
 * The data plane of a RequestReply (sheet knative-eventing §7.3): a POST to `/request-reply/<namespace>/<name>` is
 * held open until an event with the reply attribute comes back through the broker; its Trigger POSTs such events
 * to `…/reply`.
 */
import { MeshError } from "../errors.ts";
import { amend } from "../event/attributes.ts";
import type { Event } from "../event/event.ts";
import { decodeHttp } from "../event/http.ts";
import { eventInvalid } from "../event/validate.ts";
import { answeredOtherwise } from "../reply/address.ts";
import type { Responder } from "../reply/responder.ts";
import type { Seal } from "../reply/seal.ts";
import type { TriggerRoute } from "../routes/route.ts";
import { headersBeside, type Post } from "./accept.ts";
import { departure, type Exchange, write } from "./http-request.ts";
import { type RequestParts, request } from "./request.ts";

export interface RequestReplyParts extends RequestParts {
  readonly responder: Responder;
  readonly seal: Seal;
}

/** What a request target names; undefined when it is no RequestReply's. */
export interface RequestReplyTarget {
  /** `<namespace>/<name>` */
  readonly scope: string;
  readonly isReply: boolean;
}

type Route = TriggerRoute & { readonly requestReply: NonNullable<TriggerRoute["requestReply"]> };

const pattern = /^\/request-reply\/([^/?]+)\/([^/?]+)(\/reply)?\/?(?:\?|$)/;

export function requestReplyTarget(requestTarget: string): RequestReplyTarget | undefined {
  const match = pattern.exec(requestTarget);
  return match === null ? undefined : { scope: `${match[1]}/${match[2]}`, isReply: match[3] !== undefined };
}

/** The broker a RequestReply stands before, `<namespace>/<name>`. Throws NOT_FOUND. */
export function brokerBehind({ table }: RequestReplyParts, { scope }: RequestReplyTarget): string {
  const { namespace, broker } = routeOf(table.requestReply(scope), scope);
  return `${namespace}/${broker}`;
}

/** Answers a request with its reply, or a reply with 202. Rejects as `request` does. */
export async function answerRequestReply(
  parts: RequestReplyParts,
  exchange: Exchange,
  { target: { scope, isReply }, post }: { target: RequestReplyTarget; post: Omit<Post, "path"> },
): Promise<void> {
  const route = routeOf(parts.table.requestReply(scope), scope);
  const decoded = decodeHttp(post.rawHeaders, post.body, post.limits);
  if (decoded.kind === "batch") {
    throw new MeshError("REQUEST_INVALID", { expected: "one event", found: "a batch of events" });
  }
  if (isReply) {
    await takeReply(parts, { event: decoded.event, route, scope });
    exchange.response.writeHead(202, { "content-length": "0" }).end();
    return;
  }
  const { correlationAttribute, prefix, timeoutMs } = route.requestReply;
  const asked = {
    path: `${route.namespace}/${route.broker}`,
    event: decoded.event,
    beside: headersBeside(post.rawHeaders),
    replyType: answeredOtherwise,
    mark: (event: Event, token: string) =>
      amend(event, { [correlationAttribute]: prefix + parts.seal.close(token, scope) }),
  };
  const outcome = await request(parts, asked, { waitMs: timeoutMs, signal: departure(exchange) });
  write(exchange, outcome, undefined);
}

async function takeReply(
  { seal, responder }: RequestReplyParts,
  { event, route, scope }: { event: Event; route: Route; scope: string },
): Promise<void> {
  const { correlationAttribute, replyAttribute, prefix } = route.requestReply;
  const value = event.attributes[replyAttribute] ?? "";
  const token = value.startsWith(prefix) ? seal.open(value.slice(prefix.length), scope) : undefined;
  if (token === undefined)
    throw eventInvalid(replyAttribute, `the ${correlationAttribute} of a request`, value);
  await responder.told(token, event);
}

function routeOf(route: TriggerRoute | undefined, scope: string): Route {
  if (route?.requestReply !== undefined) return { ...route, requestReply: route.requestReply };
  throw new MeshError("NOT_FOUND", {
    field: "RequestReply",
    found: scope.slice(0, 200),
    fix: "List them with `weft get requestreplies`",
  });
}
