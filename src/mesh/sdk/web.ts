/** Node's HTTP on one side, the web's Request and Response, or an event, on the other. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Clock, rfc3339 } from "../clock.ts";
import { httpRequestType, parseData } from "./author-event.ts";
import { claimsEvent, decodeRequest } from "./codec.ts";
import type { PlainAnswer } from "./handler.ts";
import type { CloudEvent } from "./sdk.ts";

/** Far above what a broker passes on (8 MiB by default); plain HTTP calls are bounded by it. */
export const bodyBytesMax = 64 * 1024 * 1024;

/** Does nothing when the request was answered already. */
export function write(response: ServerResponse, { status, headers, body }: PlainAnswer): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(
    status,
    status === 204 ? headers : { ...headers, "content-length": body?.byteLength ?? 0 },
  );
  response.end(body);
}

export async function writeWebResponse(response: ServerResponse, web: Response): Promise<void> {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(web.status, [...web.headers].flat());
  if (web.body === null) {
    response.end();
    return;
  }
  // The caller may leave in the middle; that is its own affair.
  await pipeline(Readable.fromWeb(web.body as never), response).catch(() => {});
}

/** The Response itself when it may go out as it is (empty, an event, no 2xx), else its body as data (H1). */
export async function dataOfResponse(web: Response): Promise<unknown> {
  if (web.body === null || !web.ok) return web;
  const body = new Uint8Array(await web.arrayBuffer());
  const { status, headers } = web;
  if (body.byteLength === 0) return new Response(null, { status, headers });
  const plain = Object.fromEntries(headers);
  if (!claimsEvent(plain)) return parseData(body, headers.get("content-type") ?? undefined);
  decodeRequest([...headers].flat(), body);
  return new Response(body, { status, headers });
}

/** Plain HTTP to an event handler: the request as an event, so that one signature serves both. */
export function httpEvent(request: IncomingMessage, body: Uint8Array, clock: Clock): CloudEvent {
  const contentType = request.headers["content-type"];
  return {
    specversion: "1.0",
    id: randomUUID(),
    source: `http://${request.headers.host ?? "localhost"}/`,
    type: httpRequestType,
    subject: request.url ?? "/",
    time: rfc3339(clock.now()),
    method: request.method ?? "GET",
    ...(contentType === undefined ? {} : { datacontenttype: contentType }),
    data: parseData(body, contentType),
  };
}

/** undefined when it is too large. */
export async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes <= bodyBytesMax) chunks.push(chunk);
  }
  return bytes > bodyBytesMax ? undefined : Buffer.concat(chunks);
}

/** `body` when it was read already; otherwise it streams. */
export function toWebRequest(
  request: IncomingMessage,
  { signal, body }: { signal: AbortSignal; body: Uint8Array | undefined },
): Request {
  const method = request.method ?? "GET";
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(new URL(request.url ?? "/", `http://${request.headers.host ?? "localhost"}`), {
    method,
    headers: toHeaders(request),
    signal,
    ...(hasBody ? { body: body ?? Readable.toWeb(request), duplex: "half" } : {}),
  } as RequestInit);
}

export function toHeaders(request: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined) headers.append(name, one);
  }
  return headers;
}
