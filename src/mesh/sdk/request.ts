/** `ctx.request`: one event to a broker's ingress, resolved to the reply event that the mesh brings back. */
import { request } from "node:http";
import { messageOf } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { decodeRequest, encodeReply } from "./codec.ts";
import type { RequestError } from "./sdk.ts";
import { bodyBytesMax } from "./web.ts";

export interface RequestTarget {
  readonly ingressUrl: string | undefined;
  readonly namespace: string;
  readonly broker: string | undefined;
  readonly replyType: string | undefined;
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly body: Uint8Array;
}

/** Rejects with a RequestError when no reply came, with another Error when the mesh could not be asked. */
export async function requestReply(event: Event, target: RequestTarget): Promise<Event> {
  const { ingressUrl, namespace, broker } = target;
  if (ingressUrl === undefined) throw new Error("ctx.request: this function was given no broker to send to");
  if (broker === undefined) {
    throw new Error("ctx.request: expected { broker } because this call did not come from a broker");
  }
  const url = new URL(`/${encodeURIComponent(namespace)}/${encodeURIComponent(broker)}`, ingressUrl);
  const answer = await post(url, event, target);
  if (answer.status === 200) return decodeRequest(answer.rawHeaders, answer.body);
  throw requestError(answer);
}

function post(url: URL, event: Event, { replyType, waitMs, signal }: RequestTarget): Promise<Answer> {
  const { headers, body } = encodeReply(event);
  const asking = {
    ...headers,
    prefer: `wait=${(waitMs / 1000).toFixed(3)}`,
    ...(replyType === undefined ? {} : { "weft-reply-type": replyType }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: "POST", headers: asking, signal }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.byteLength;
        if (bytes > bodyBytesMax) response.destroy(new Error(`the reply is over ${bodyBytesMax} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          rawHeaders: response.rawHeaders,
          body: Buffer.concat(chunks),
        }),
      );
    });
    outgoing.on("error", (cause) => reject(new Error(`ctx.request: ${messageOf(cause)}`, { cause })));
    outgoing.end(body);
  });
}

/** The ingress explains itself in a problem document. */
function requestError({ status, body }: Answer): RequestError {
  const { code, detail, reply } = problemOf(Buffer.from(body).toString("utf8"));
  const text = typeof detail === "string" ? detail : `the broker answered ${status}`;
  return Object.assign(new Error(`ctx.request: ${text}`), {
    name: "RequestError",
    status,
    code: typeof code === "string" ? code : "",
    ...(typeof reply === "string" ? { reply } : {}),
  });
}

function problemOf(text: string): { code?: unknown; detail?: unknown; reply?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
