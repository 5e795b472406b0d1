/**
 * Plain HTTP to functions by host name: `http://<service>.<namespace>.localhost:8080` and the name a cluster
 * would give it, `<service>.<namespace>.svc.cluster.local`. Knative's activator and queue-proxy in one hop:
 * waits for a start, proxies streaming in both directions, and answers with their codes and texts.
 */
import { Agent, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import { endToEnd, forward } from "./forward.ts";
import type { FunctionHost } from "./host.ts";
import type { Lease, ServiceRef } from "./service.ts";

export interface GatewayOptions {
  readonly host: Pick<FunctionHost, "has" | "acquire" | "timeoutMs">;
  readonly clock: Clock;
  /** Its requests come from relays (relay.ts), which say who the client is. */
  readonly isRelayed?: boolean;
}

/** Who a relay's client is. Whatever begins like this reaches no function. */
export const clientHeader = "weft-client";

/** Returns whether the request was for a function; if so, it answers it. */
export type Gateway = (request: IncomingMessage, response: ServerResponse) => boolean;

export function createGateway({ host, clock, isRelayed = false }: GatewayOptions): Gateway {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 64 });
  return (incoming, response) => {
    const service = parseFunctionHost(incoming.headers.host);
    if (service === undefined) return false;
    const probe = incoming.headers["k-network-probe"];
    if (probe !== undefined) answerProbe(response, String(probe));
    else if (!host.has(service)) {
      const name = `${service.namespace}/${service.name}`;
      answer(response, 404, `Error getting active endpoint: service ${name} not found`);
    } else void proxy(incoming, response, { service, host, clock, isRelayed, agent });
    return true;
  };
}

const label = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?";
const functionHost = new RegExp(
  `^(${label})\\.(${label})\\.(?:localhost|svc|svc\\.cluster\\.local)\\.?(?::\\d+)?$`,
);

/** undefined when the Host header names no function. */
export function parseFunctionHost(header: string | undefined): ServiceRef | undefined {
  const [, name, namespace] = functionHost.exec(header?.toLowerCase() ?? "") ?? [];
  return name === undefined || namespace === undefined ? undefined : { namespace, name };
}

/** Whether a Host header may be a function's, there or not. */
export function isFunctionHost(header: string): boolean {
  return parseFunctionHost(header) !== undefined;
}

interface Proxied extends Required<GatewayOptions> {
  readonly service: ServiceRef;
  readonly agent: Agent;
}

/** The timeout counts from arrival, so a cold start eats from it, as at Knative's activator. Never rejects. */
async function proxy(
  incoming: IncomingMessage,
  response: ServerResponse,
  { service, host, clock, isRelayed, agent }: Proxied,
): Promise<void> {
  const abort = new AbortController();
  const timer = clock.after(host.timeoutMs(service) ?? 300_000, () => abort.abort(timedOut));
  response.once("close", () => {
    if (!response.writableFinished) abort.abort(callerGone);
  });
  let lease: Lease | undefined;
  try {
    lease = await host.acquire(service, abort.signal);
    const headers = forwardedHeaders(incoming, isRelayed);
    const { hostname, port } = new URL(lease.url);
    await forward(incoming, response, {
      ...{ host: hostname, port, agent, signal: abort.signal },
      headers: { ...headers, ...lease.headers },
    });
    lease.release("answered");
  } catch (error) {
    lease?.release(response.headersSent ? "answered" : "broken");
    if (abort.signal.reason === timedOut) {
      if (response.headersSent) response.end("activator request timeout");
      else answer(response, 504, "activator request timeout");
    } else if (!response.headersSent) refuse(response, error);
    else response.destroy();
  } finally {
    timer.cancel();
  }
}

const timedOut = new Error("activator request timeout");
const callerGone = new Error("the caller went away");

function forwardedHeaders(incoming: IncomingMessage, isRelayed: boolean): IncomingHttpHeaders {
  const headers = endToEnd(incoming.headers);
  const relayed = isRelayed ? headers[clientHeader] : undefined;
  const address = relayed === undefined ? incoming.socket.remoteAddress : String(relayed);
  // Only the mesh itself says which trigger delivers, and for how long.
  for (const name of Object.keys(headers)) if (/^(?:weft-|knative-serving-)/.test(name)) delete headers[name];
  const client = address?.replace(/^::ffff:/, "") ?? "unknown";
  const before = headers["x-forwarded-for"];
  const hops = before === undefined ? [client] : [...String(before).split(/,\s*/), client];
  headers["x-forwarded-for"] = hops.join(", ");
  headers["x-forwarded-proto"] ??= "http";
  headers["x-forwarded-host"] ??= incoming.headers.host;
  headers.forwarded ??= hops
    .map((hop, index) => {
      const node = hop.includes(":") ? `"[${hop}]"` : hop;
      const rest = `;host=${headers["x-forwarded-host"]};proto=${headers["x-forwarded-proto"]}`;
      return `for=${node}${index === 0 ? rest : ""}`;
    })
    .join(", ");
  headers["k-proxy-request"] = "activator";
  return headers;
}

function refuse(response: ServerResponse, error: unknown): void {
  if (error === callerGone) return;
  if (error instanceof MeshError) {
    if (error.status === 503) response.setHeader("retry-after", "1");
    answer(response, error.status, error.message);
  } else answer(response, 502, messageOf(error));
}

/** Probes are no traffic: they wake nothing. */
function answerProbe(response: ServerResponse, probe: string): void {
  if (probe === "probe" || probe === "activator") answer(response, 200, probe === "activator" ? probe : "");
  else answer(response, 400, `unexpected probe header value: ${probe}`);
}

function answer(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(text);
}
