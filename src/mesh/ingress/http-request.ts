/** Request/reply over HTTP: `Prefer: wait` on a POST, and fetching a reply that came late. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { textOfByteString } from "../event/header-value.ts";
import { decodeHttp, encodeBinaryHeaders, encodeStructured, needsStructured } from "../event/http.ts";
import { structuredType } from "../event/media-type.ts";
import { isText } from "../event/validate.ts";
import { headersBeside, type Post } from "./accept.ts";
import { appliedWait } from "./preference.ts";
import { fetchReply, type RequestOutcome, type RequestParts, request } from "./request.ts";

/** One request and its answer. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

const replyTypeCharsMax = 1024;
const nothing = new Uint8Array(0);

/**
 * Stores the event of the POST and answers with its reply, or with why there is none; false when it is a batch, for
 * which nobody can wait. Rejects as `request` does.
 */
export async function answerRequest(
  parts: RequestParts,
  exchange: Exchange,
  { post, waitMs }: { post: Post; waitMs: number },
): Promise<boolean> {
  const decoded = decodeHttp(post.rawHeaders, post.body, post.limits);
  if (decoded.kind === "batch") return false;
  const incoming = {
    path: post.path,
    event: decoded.event,
    beside: headersBeside(post.rawHeaders),
    replyType: replyTypeOf(exchange.request.headers["weft-reply-type"]),
  };
  const outcome = await request(parts, incoming, { waitMs, signal: departure(exchange) });
  write(exchange, outcome, waitMs);
  return true;
}

/** GET /weft/v1/replies/<token>; `Prefer: wait` waits for what has not come yet. */
export async function answerFetch(
  parts: RequestParts,
  exchange: Exchange,
  { token, waitMs }: { token: string; waitMs: number },
): Promise<void> {
  const { method } = exchange.request;
  if (method !== "GET") {
    throw new MeshError("METHOD_NOT_ALLOWED", { expected: "GET", found: method ?? "none" });
  }
  write(exchange, await fetchReply(parts, token, { waitMs, signal: departure(exchange) }), waitMs);
}

/** Node's own form of a header: bytes in a string. Throws REQUEST_INVALID. */
function replyTypeOf(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  return checkReplyType(textOfByteString(Array.isArray(header) ? header.join() : header) ?? "");
}

/** Throws REQUEST_INVALID unless an event's type may be like that. */
export function checkReplyType(type: string): string {
  if (type !== "" && type.length <= replyTypeCharsMax && isText(type)) return type;
  throw new MeshError("REQUEST_INVALID", {
    field: "Weft-Reply-Type",
    expected: "the type of an event",
    found: type.slice(0, 100),
  });
}

/** Aborts when the caller hangs up before it has its answer. */
export function departure({ response }: Exchange): AbortSignal {
  const aborter = new AbortController();
  response.once("close", () => aborter.abort());
  if (response.destroyed) aborter.abort();
  return aborter.signal;
}

/** `waitMs` is what the sender's preference came to; undefined when it had none. */
export function write(
  { request, response }: Exchange,
  outcome: RequestOutcome,
  waitMs: number | undefined,
): void {
  if (outcome.kind === "left" || response.destroyed) return;
  const applied = waitMs === undefined ? [] : ["preference-applied", appliedWait(waitMs)];
  if (outcome.kind === "reply") {
    const { headers, body } = encode(outcome.event, request.headers.accept);
    response.writeHead(200, [...headers, ...applied, "content-length", `${body.length}`]).end(body);
    return;
  }
  const { error, problem, location } = outcome;
  const body = JSON.stringify({ ...error.toProblem(), ...problem });
  const headers = [
    "content-type",
    "application/problem+json",
    "content-length",
    `${Buffer.byteLength(body)}`,
  ];
  if (location !== undefined) headers.push("location", location);
  response.writeHead(error.status, [...headers, ...applied]).end(body);
}

function encode(event: Event, accept: string | undefined): { headers: string[]; body: Uint8Array } {
  const asked = accept?.toLowerCase().includes(structuredType) === true;
  if (!needsStructured(event, asked ? "json" : "binary")) {
    return { headers: encodeBinaryHeaders(event), body: event.data ?? nothing };
  }
  const { contentType, body } = encodeStructured(event);
  return { headers: ["content-type", contentType], body };
}
