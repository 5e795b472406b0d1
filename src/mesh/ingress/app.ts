/**
 * The events port: Hono routes over the bare Node request and response, because Request/Response objects per
 * event cost a quarter of the throughput (DESIGN §6). Functions' own host names go to the gateway.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono } from "hono";
import { MeshError } from "../errors.ts";
import type { EventLimits } from "../event/limits.ts";
import type { Log } from "../log.ts";
import { type AcceptParts, accept, brokerPath } from "./accept.ts";
import { type Answer, accepted, allowedMethods, refusalAnswer } from "./answer.ts";
import { type BodyLimits, discardRest, readBody } from "./body.ts";
import { answerFetch, answerRequest } from "./http-request.ts";
import { type WaitBounds, waitMsOf } from "./preference.ts";
import { replyTokenOf } from "./request.ts";
import {
  answerRequestReply,
  brokerBehind,
  type RequestReplyParts,
  requestReplyTarget,
} from "./request-reply.ts";

export interface IngressParts extends AcceptParts {
  readonly log: Log;
  readonly limits: () => BodyLimits & EventLimits;
  /** Takes requests for a function's host name; false when the host is none. */
  readonly gateway: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Whether a Host header may be a function's. */
  readonly isFunctionHost: (header: string) => boolean;
  /** For who waits for a reply. */
  readonly requests: () => RequestReplyParts;
  readonly waits: WaitBounds;
  /** Why nothing may enter the broker (`<namespace>/<broker>`) right now (draining, storage nearly full), or undefined. */
  readonly refusal: (path: string) => MeshError | undefined;
}

export function createIngress(parts: IngressParts): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.all("*", async (c) => {
    const { incoming, outgoing } = c.env;
    // Only HTTP/1 is served here, so the two are Node's own classes.
    await answer(parts, incoming as IncomingMessage, outgoing as ServerResponse);
    return RESPONSE_ALREADY_SENT;
  });
  return app;
}

async function answer(
  parts: IngressParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    if (parts.gateway(request, response)) return;
    if (request.method === "OPTIONS") return grantWebhook(response);
    const token = replyTokenOf(request.url ?? "/");
    if (token !== undefined) {
      const waitMs = waitMsOf(request.headers.prefer, parts.waits) ?? 0;
      return await answerFetch(parts.requests(), { request, response }, { token, waitMs });
    }
    if (request.method !== "POST") throw methodNotAllowed(request.method);
    const target = requestReplyTarget(request.url ?? "/");
    const path =
      target === undefined ? brokerPath(request.url ?? "/") : brokerBehind(parts.requests(), target);
    const refusal = parts.refusal(path);
    if (refusal !== undefined) throw refusal;
    const limits = parts.limits();
    const body = await readBody(request, limits);
    if (target !== undefined) {
      const post = { rawHeaders: request.rawHeaders, body, limits };
      return await answerRequestReply(parts.requests(), { request, response }, { target, post });
    }
    const post = { path, rawHeaders: request.rawHeaders, body, limits };
    const waitMs = waitMsOf(request.headers.prefer, parts.waits);
    if (
      waitMs !== undefined &&
      (await answerRequest(parts.requests(), { request, response }, { post, waitMs }))
    )
      return;
    await accept(parts, post);
    write(response, accepted);
  } catch (error) {
    refuse(parts.log, { request, response }, error);
  }
}

/** The webhook spec's handshake: anyone may send, at any rate (sheet cloudevents §5). */
function grantWebhook(response: ServerResponse): void {
  response
    .writeHead(200, {
      allow: allowedMethods,
      "webhook-allowed-origin": "*",
      "webhook-allowed-rate": "*",
      "content-length": "0",
    })
    .end();
}

function refuse(
  log: Log,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
  error: unknown,
): void {
  const answer = refusalAnswer(log, error);
  if (response.destroyed || response.headersSent) return;
  write(response, answer);
  if (answer.status === 413) discardRest(request);
}

function write(response: ServerResponse, { status, fields, body }: Answer): void {
  response.writeHead(status, [...fields, "content-length", `${Buffer.byteLength(body)}`]).end(body);
}

function methodNotAllowed(method: string | undefined): MeshError {
  return new MeshError("METHOD_NOT_ALLOWED", { found: method ?? "none", expected: "POST" });
}
