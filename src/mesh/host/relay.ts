/**
 * The gateway of a process that runs no functions: passes plain HTTP to functions on to the gateway of the process
 * that does, on loopback, streaming in both directions.
 */
import { Agent, type IncomingMessage, request, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { clientHeader, endToEnd, type Gateway, parseFunctionHost } from "./gateway.ts";

export function createRelay({ port }: { port: number }): Gateway {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 64 });
  return (incoming, response) => {
    if (parseFunctionHost(incoming.headers.host) === undefined) return false;
    relay(incoming, response, { port, agent }).catch(() => {
      if (response.headersSent || response.destroyed) response.destroy();
      else response.writeHead(502, { "content-type": "text/plain; charset=utf-8" }).end("no answer\n");
    });
    return true;
  };
}

/** Rejects when either side breaks off. */
function relay(
  incoming: IncomingMessage,
  response: ServerResponse,
  { port, agent }: { port: number; agent: Agent },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = endToEnd(incoming.headers);
    headers[clientHeader] = incoming.socket.remoteAddress ?? "unknown";
    const { url, method } = incoming;
    const outgoing = request({ host: "127.0.0.1", port, path: url, method, headers, agent });
    outgoing.on("error", reject);
    outgoing.on("response", (upstream) => {
      response.writeHead(upstream.statusCode ?? 502, endToEnd(upstream.headers));
      pipeline(upstream, response).then(resolve, reject);
    });
    response.once("close", () => {
      if (!response.writableFinished) outgoing.destroy(new Error("the caller went away"));
    });
    pipeline(incoming, outgoing).catch(reject);
  });
}
