/**
 * The gateway of a process that runs no functions: passes plain HTTP to functions on to the gateway of the process
 * that does, on loopback.
 */
import { Agent, type IncomingMessage, type ServerResponse } from "node:http";
import { endToEnd, forward } from "./forward.ts";
import { clientHeader, type Gateway, parseFunctionHost } from "./gateway.ts";

interface Relaying {
  readonly port: number;
  readonly agent: Agent;
}

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
  { port, agent }: Relaying,
): Promise<void> {
  const abort = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) abort.abort(new Error("the caller went away"));
  });
  const headers = endToEnd(incoming.headers);
  headers[clientHeader] = incoming.socket.remoteAddress ?? "unknown";
  return forward(incoming, response, { host: "127.0.0.1", port, headers, agent, signal: abort.signal });
}
