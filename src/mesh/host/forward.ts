/**
 * Passes one HTTP request on and its answer back, streaming in both directions.
 *
 * F1  what ends with this connection stays here (RFC 9110 §7.6.1), save what says how long a message is: that is
 *     never anybody's to take away.
 * F2  a body goes on framed, whatever the method: what node:http sends without a length would be read as the next
 *     request of the connection.
 */
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
  request,
  type ServerResponse,
} from "node:http";
import { pipeline } from "node:stream/promises";

/** Resolves when the answer has been passed back whole. Rejects when either side breaks off, or `signal` aborts. */
export function forward(
  incoming: IncomingMessage,
  response: ServerResponse,
  options: RequestOptions & { readonly headers: IncomingHttpHeaders; readonly signal: AbortSignal },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ path: incoming.url, method: incoming.method, ...options });
    // F2.
    if (incoming.headers["transfer-encoding"] !== undefined) outgoing.useChunkedEncodingByDefault = true;
    outgoing.on("error", reject);
    outgoing.on("response", (upstream) => {
      response.writeHead(upstream.statusCode ?? 502, endToEnd(upstream.headers));
      pipeline(upstream, response).then(resolve, reject);
    });
    // A caller that breaks off aborts `outgoing` through the signal.
    pipeline(incoming, outgoing).catch(reject);
  });
}

const hopByHop: readonly string[] = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];
const framing: ReadonlySet<string> = new Set(["content-length", "host"]);

/** F1. */
export function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const kept = { ...headers };
  const named = String(headers.connection ?? "")
    .toLowerCase()
    .split(/,\s*/)
    .filter((name) => !framing.has(name));
  for (const name of [...hopByHop, ...named]) delete kept[name];
  return kept;
}
