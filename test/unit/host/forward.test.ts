import { once } from "node:events";
import { Agent, createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { endToEnd, forward } from "../../../src/mesh/host/forward.ts";
import { until } from "../../support/until.ts";

let upstream: Server;
let proxy: Server;
let agent: Agent;
/** Method, target and body of each request that arrived. */
let seen: string[];

beforeEach(async () => {
  seen = [];
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
  upstream = createServer((request, response) => {
    let body = "";
    request.setEncoding("latin1").on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${body}`);
      response.end(`answer to ${request.url}`);
    });
  }).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  const { port } = upstream.address() as AddressInfo;
  proxy = createServer((incoming, response) => {
    const headers = endToEnd(incoming.headers);
    const { signal } = new AbortController();
    forward(incoming, response, { host: "127.0.0.1", port, headers, agent, signal }).catch(() =>
      response.destroy(),
    );
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
});

afterEach(() => {
  agent.destroy();
  for (const server of [proxy, upstream]) {
    server.closeAllConnections();
    server.close();
  }
});

/** Sends bytes over a connection of its own; what comes back once it contains `end`. */
async function exchange(bytes: string, end: string): Promise<string> {
  const socket = connect((proxy.address() as AddressInfo).port, "127.0.0.1");
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk;
  });
  socket.write(bytes);
  await until(() => text.includes(end));
  socket.destroy();
  return text;
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
const chunked = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`;

describe("forward", () => {
  test.each(["GET", "DELETE", "OPTIONS", "POST", "PUT"])(
    "passes the chunked body of a %s on as a body, never as a request",
    async (method) => {
      const head = `${method} /one HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n`;
      await exchange(head + chunked, "answer to /one");
      const victim = await exchange("GET /victim HTTP/1.1\r\nHost: h\r\n\r\n", "answer to");
      expect(victim).toContain("answer to /victim");
      expect(seen).toEqual([`${method} /one ${smuggled}`, "GET /victim "]);
    },
  );

  test.each(["GET", "POST"])("keeps the length of a %s, whatever Connection names", async (method) => {
    const head = `${method} /one HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Content-Length, Host\r\n`;
    await exchange(`${head}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`, "answer to /one");
    await exchange("GET /victim HTTP/1.1\r\nHost: h\r\n\r\n", "answer to /victim");
    expect(seen).toEqual([`${method} /one ${smuggled}`, "GET /victim "]);
  });
});

test("endToEnd keeps what is meant for the end", () => {
  const headers = { host: "h", connection: "close, X-Hop", "x-hop": "1", te: "trailers", "x-own": "2" };
  expect(endToEnd(headers)).toEqual({ host: "h", "x-own": "2" });
});
