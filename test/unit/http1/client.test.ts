import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createBareServer, Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { afterEach, describe, expect, test, vi } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import { type ClientOptions, Http1Client } from "../../../src/mesh/http1/client.ts";
import type { Answer, Exchange } from "../../../src/mesh/http1/exchange.ts";
import { waitingMax } from "../../../src/mesh/http1/origin.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { until } from "../../support/until.ts";
import { answerText, startPeer as startBarePeer } from "./peer.ts";

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((at) => at?.address === "::1");
const mebibyte = 1024 * 1024;
const clock = new FakeClock();
let own = new CloseStack();

afterEach(async () => {
  await own.close();
  own = new CloseStack();
});

async function startPeer(...args: Parameters<typeof startBarePeer>) {
  return own.use("peer", await startBarePeer(...args));
}

function startClient(options: Partial<ClientOptions> = {}): Http1Client {
  return own.use("client", new Http1Client({ clock, answerBytesMax: 4 * mebibyte, ...options }));
}

interface Said {
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
}

/** Rejects with what the exchange failed with. */
function post(client: Http1Client, url: URL, { headers = [], body = "" }: Said = {}): Promise<Answer> {
  return new Promise((onAnswer, onFailure) => {
    client.start({ url, headers, body: Buffer.from(body) }, { onAnswer, onFailure });
  });
}

/** An exchange, and what was told of it. */
function start(client: Http1Client, url: URL): { exchange: Exchange; told: (Answer | Error)[] } {
  const told: (Answer | Error)[] = [];
  const tell = (outcome: Answer | Error) => told.push(outcome);
  const exchange = client.start({ url, headers: [], body: undefined }, { onAnswer: tell, onFailure: tell });
  return { exchange, told };
}

function textOf({ body }: Answer): string {
  return Buffer.from(body).toString("latin1");
}

/** Whose method was called. */
function sockets({ mock }: { mock: { contexts: readonly unknown[] } }): Socket[] {
  return mock.contexts.filter((context) => context instanceof Socket);
}

async function gone(socket: Socket | undefined): Promise<void> {
  await until(() => socket?.closed, { what: "the connection is closed" });
}

describe("Http1Client says and hears", () => {
  test("a request as it was given", async () => {
    const { url, requests } = await startPeer(({ socket }) => socket.write(answerText("yes")));
    const answer = await post(startClient(), new URL("/p?q=1", url), {
      headers: ["ce-id", "1", "content-type", "text/plain"],
      body: "hello",
    });
    expect(requests.map(({ text }) => text)).toEqual([
      `POST /p?q=1 HTTP/1.1\r\nhost: ${url.host}\r\ncontent-length: 5\r\n` +
        "ce-id: 1\r\ncontent-type: text/plain\r\n\r\nhello",
    ]);
    expect(answer).toEqual({
      status: 200,
      headers: ["content-length", "3"],
      body: Buffer.from("yes"),
      truncated: false,
    });
  });

  test.each([0, 1, 1000, 24_000, 24_576, 100_000, 3 * mebibyte])("a body of %d bytes", async (length) => {
    const { url } = await startPeer(({ socket, text }) => {
      const body = text.slice(text.indexOf("\r\n\r\n") + 4);
      socket.write(answerText(body), "latin1");
    });
    const body = Buffer.alloc(length, "0123456789abcdefg");
    const answer = await post(startClient(), url, { body });
    expect(body.equals(answer.body)).toBe(true);
  });

  test("many at once, each its own answer", async () => {
    const { url, sockets } = await startPeer(({ socket, text }) => {
      const id = /\r\nid: (\d+)/.exec(text)?.[1] ?? "";
      socket.write(answerText(id));
    });
    const client = startClient({ connectionsPerOriginMax: 20 });
    const ids = Array.from({ length: 500 }, (_, id) => `${id}`);
    const answers = await Promise.all(ids.map((id) => post(client, url, { headers: ["id", id] })));
    expect(answers.map(textOf)).toEqual(ids);
    expect(sockets).toHaveLength(20);
  });

  test("a request the system takes only in part, unharmed by the next one", async () => {
    // Reads nothing, but answers when told to.
    const full = createBareServer({ pauseOnConnect: true });
    full.listen(0, "127.0.0.1");
    const connected = once(full, "connection") as Promise<[Socket]>;
    await once(full, "listening");
    own.defer("full", () => void full.close());
    const other = await startPeer(({ socket }) => socket.write(answerText("")));
    const writes = vi.spyOn(Socket.prototype, "write");
    own.defer("spy", () => writes.mockRestore());

    const { port } = full.address() as AddressInfo;
    const client = startClient();
    const fill = Buffer.alloc(20_000, "f");
    const begin = () => post(client, new URL(`http://127.0.0.1:${port}/`), { body: fill });
    let filling = begin();
    const [peer] = await connected;
    own.defer("peer", () => void peer.destroy());
    const written = await until(() => sockets(writes).find(({ remotePort }) => remotePort === port));
    while (written.writableLength === 0) {
      peer.write(answerText(""));
      await filling;
      filling = begin();
      await new Promise(setImmediate);
    }

    await post(client, other.url, { body: Buffer.alloc(20_000, "o") });
    let received = "";
    peer.on("data", (chunk) => {
      received = (received + chunk.toString("latin1")).slice(-fill.length);
    });
    peer.resume();
    await until(() => written.writableLength === 0 && received === fill.toString());
    peer.write(answerText("unharmed"));
    expect(textOf(await filling)).toBe("unharmed");
  });

  test("a server of node:http, which sends chunks and its Date", async () => {
    const server = createServer(async (request, response) => {
      response.writeHead(200, { "content-type": "text/plain" });
      for await (const chunk of request) response.write(chunk);
      response.end("!");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    own.defer("server", () => server.closeAllConnections());
    own.defer("server", () => void server.close());
    let connections = 0;
    server.on("connection", () => connections++);
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const client = startClient();
    for (const body of ["a", "b".repeat(mebibyte), "c"]) {
      expect(textOf(await post(client, url, { body }))).toBe(`${body}!`);
    }
    expect(connections).toBe(1);
  });

  test("a peer at localhost, at whichever of its addresses", async () => {
    const { port } = await startPeer(({ socket }) => socket.write(answerText("")));
    expect((await post(startClient(), new URL(`http://localhost:${port}/`))).status).toBe(200);
  });

  test.skipIf(!hasIpv6)("a peer at an address of IPv6", async () => {
    const { url } = await startPeer(({ socket }) => socket.write(answerText("")), { host: "::1" });
    expect((await post(startClient(), url)).status).toBe(200);
  });

  test("an answer that comes byte by byte", async () => {
    const { url } = await startPeer(async ({ socket }) => {
      for (const byte of `HTTP/1.1 100 C\r\n\r\n${answerText("slow")}`) {
        socket.write(byte);
        await new Promise(setImmediate);
      }
    });
    const answer = await post(startClient(), url);
    expect(textOf(answer)).toBe("slow");
  });

  test("an answer that ends with the connection", async () => {
    const { url } = await startPeer(({ socket }) => socket.end("HTTP/1.1 200 OK\r\n\r\nuntil here"));
    expect(textOf(await post(startClient(), url))).toBe("until here");
  });

  test("an answer given before the request was read, and closes", async () => {
    const { url, sockets } = await startPeer(({ socket }) => socket.write(answerText("", { status: 413 })), {
      atHead: true,
    });
    const client = startClient();
    const answer = await post(client, url, { body: Buffer.alloc(64 * mebibyte) });
    expect(answer.status).toBe(413);
    sockets[0]?.resume();
    await gone(sockets[0]);
    expect((await post(client, url)).status).toBe(413);
    expect(sockets).toHaveLength(2);
  });

  test("no more of an answer than may be, and closes", async () => {
    const { url, sockets } = await startPeer(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
      socket.write(Buffer.alloc(mebibyte, "a"));
    });
    const answer = await post(startClient({ answerBytesMax: 1000 }), url);
    expect(answer.truncated).toBe(true);
    expect(textOf(answer)).toBe("a".repeat(1000));
    await gone(sockets[0]);
  });
});

describe("Http1Client uses a connection", () => {
  test("again, the one used last first", async () => {
    const peer = await startPeer(({ socket, number }) => {
      if (number > 2) socket.write(answerText(`${peer.sockets.indexOf(socket)}`));
    });
    const client = startClient();
    const both = [post(client, peer.url), post(client, peer.url)];
    await until(() => peer.requests.length === 2);
    peer.sockets[1]?.write(answerText(""));
    await Promise.race(both);
    peer.sockets[0]?.write(answerText(""));
    await Promise.all(both);
    for (let time = 0; time < 3; time++) expect(textOf(await post(client, peer.url))).toBe("0");
    expect(peer.sockets).toHaveLength(2);
  });

  test.each([
    ["the peer says so", answerText("x", { headers: "connection: close\r\n" })],
    ["another answer follows", answerText("x") + answerText("wrong")],
    ["the peer speaks HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"],
    ["the peer closes in a moment", answerText("x", { headers: "keep-alive: timeout=2\r\n" })],
    ["it became something else", "HTTP/1.1 101 Switching\r\n\r\n"],
  ])("never again when %s", async (_name, text) => {
    const { url, sockets } = await startPeer(({ socket, number }) =>
      socket.write(number === 1 ? text : answerText("second")),
    );
    const client = startClient();
    await post(client, url);
    await gone(sockets[0]);
    expect(textOf(await post(client, url))).toBe("second");
    expect(sockets).toHaveLength(2);
  });

  test("never again after the peer closed it unasked", async () => {
    const { url, sockets } = await startPeer(({ socket, number }) => {
      if (number === 1) socket.end(answerText(""));
      else socket.write(answerText(""));
    });
    const client = startClient();
    await post(client, url);
    await gone(sockets[0]);
    await post(client, url);
    expect(sockets).toHaveLength(2);
  });

  test("never again after bytes nobody asked for", async () => {
    const { url, sockets, requests } = await startPeer(({ socket }) => socket.write(answerText("mine")));
    const client = startClient();
    await post(client, url);
    sockets[0]?.write(answerText("not mine"));
    await gone(sockets[0]);
    expect(textOf(await post(client, url))).toBe("mine");
    expect([sockets.length, requests.length]).toEqual([2, 2]);
  });

  test("never again when such bytes, or its end, are there but not heard yet", async () => {
    const { url, sockets } = await startPeer(({ socket }) => socket.write(answerText("mine")));
    const client = startClient();
    await post(client, url);
    // In a callback of setImmediate, so that the loop polls before the post begins.
    await new Promise(setImmediate);
    sockets[0]?.write(answerText("not mine"));
    expect(textOf(await post(client, url))).toBe("mine");
    await new Promise(setImmediate);
    sockets[1]?.resetAndDestroy();
    expect(textOf(await post(client, url))).toBe("mine");
    expect(sockets).toHaveLength(3);
  });

  test.each([
    ["30 s, when the peer says nothing", "", 29_000, 2000],
    ["less than the peer says", "keep-alive: timeout=10\r\n", 7000, 2000],
    ["30 s, when the peer says more", "keep-alive: timeout=600\r\n", 29_000, 2000],
  ])("until it was idle for %s", async (_name, headers, usedAfterMs, closedAfterMs) => {
    const { url, sockets } = await startPeer(({ socket }) => socket.write(answerText("", { headers })));
    const client = startClient();
    await post(client, url);
    await clock.advance(usedAfterMs);
    await post(client, url);
    expect(sockets).toHaveLength(1);
    await clock.advance(usedAfterMs);
    expect(sockets[0]?.closed).toBe(false);
    await clock.advance(closedAfterMs);
    await gone(sockets[0]);
  });

  test("not beyond the most there may be: the others wait their turn", async () => {
    const order: string[] = [];
    const { url, sockets } = await startPeer(({ socket, text }) => {
      order.push(/ \/(\w)/.exec(text)?.[1] ?? "");
      socket.write(answerText(""));
    });
    const client = startClient({ connectionsPerOriginMax: 1 });
    const names = [..."abcde"];
    await Promise.all(names.map((name) => post(client, new URL(name, url))));
    expect(order).toEqual(names);
    expect(sockets).toHaveLength(1);
  });

  test("for a waiting post when one before it breaks", async () => {
    const { url, sockets } = await startPeer(({ socket, number }) => {
      if (number === 1) socket.resetAndDestroy();
      else socket.write(answerText(""));
    });
    const client = startClient({ connectionsPerOriginMax: 1 });
    const outcomes = await Promise.allSettled([post(client, url), post(client, url), post(client, url)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    expect(sockets).toHaveLength(2);
  });
});

describe("Http1Client fails an exchange", () => {
  test.each<[string, (socket: Socket) => void, object]>([
    ["reset", (socket) => socket.resetAndDestroy(), { code: "ECONNRESET" }],
    [
      "closed before an answer",
      (socket) => socket.end(),
      { code: "CONNECTION_LOST", message: "the connection was closed before an answer began" },
    ],
    [
      "closed in the head",
      (socket) => socket.end("HTTP/1.1 200 OK\r\n"),
      { code: "CONNECTION_LOST", message: "the connection was closed in the middle of the answer" },
    ],
    [
      "closed in the body",
      (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
      { code: "CONNECTION_LOST", message: "the connection was closed in the middle of the answer" },
    ],
    [
      "answered in another protocol",
      (socket) => socket.write("220 mail.example ESMTP\r\n"),
      {
        code: "ANSWER_MALFORMED",
        message: 'expected an answer in HTTP/1.1, found a status line "220 mail.example ESMTP"',
      },
    ],
    [
      "answered with a head without an end",
      (socket) => socket.write(`HTTP/1.1 200 OK\r\na: ${"a".repeat(70_000)}`),
      { code: "ANSWER_MALFORMED", message: expect.stringMatching(/a head of more than 65536 bytes/) },
    ],
  ])("that is %s, and closes", async (_name, act, expected) => {
    const { url, sockets } = await startPeer(({ socket }) => act(socket));
    await expect(post(startClient(), url)).rejects.toMatchObject(expected);
    await gone(sockets[0]);
  });

  test("whose used connection is closed instead of answered, and sends it once", async () => {
    const { url, requests } = await startPeer(({ socket, number }) => {
      if (number === 1) socket.write(answerText(""));
      else socket.end();
    });
    const client = startClient();
    await post(client, url);
    await expect(post(client, url)).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    expect(requests).toHaveLength(2);
  });

  test("with nobody there", async () => {
    const peer = await startPeer(() => {});
    await peer.close();
    const client = startClient();
    await expect(post(client, peer.url)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(post(client, new URL(`http://localhost:${peer.port}/`))).rejects.toMatchObject({
      code: "ECONNREFUSED",
      message: expect.stringMatching(/ECONNREFUSED/),
    });
  });

  test("at a host without an address", async () => {
    const failed = post(startClient(), new URL("http://no-such-host.invalid/"));
    await expect(failed).rejects.toMatchObject({ code: expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/) });
  });

  test("that is not connected in time", async () => {
    const { url } = await startPeer(() => {});
    const failed = expect(post(startClient(), url)).rejects.toMatchObject({ code: "CONNECT_TIMEOUT" });
    // The connection is begun in this turn of the loop and cannot be made before the next one.
    await new Promise(setImmediate);
    await clock.advance(10_000);
    await failed;
  });

  test("with a header that cannot be sent, and sends nothing", async () => {
    const { url, sockets } = await startPeer(() => {});
    const failed = post(startClient(), url, { headers: ["ce-id", "1\r\nce-type: 2"] });
    await expect(failed).rejects.toMatchObject({
      code: "HEADER_INVALID",
      message: 'the header "ce-id" cannot be sent',
    });
    expect(sockets).toHaveLength(0);
  });
});

test("Http1Client refuses a post when too many wait", async () => {
  const { url } = await startPeer(() => {});
  const client = startClient();
  for (let waiting = 0; waiting < waitingMax; waiting++) start(client, url);
  expect(start(client, url).told).toEqual([expect.objectContaining({ code: "LINE_FULL" })]);
});

describe("Http1Client stops", () => {
  test("an exchange that waits for its answer, and closes", async () => {
    const { url, sockets, requests } = await startPeer(() => {});
    const { exchange, told } = start(startClient(), url);
    await until(() => requests.length === 1);
    exchange.cancel();
    exchange.cancel();
    await gone(sockets[0]);
    expect(told).toEqual([]);
  });

  test("one that waits in line, and none of the others", async () => {
    const { url, requests } = await startPeer(({ socket, number }) => {
      if (number > 1) socket.write(answerText(""));
    });
    const client = startClient({ connectionsPerOriginMax: 1 });
    const first = start(client, new URL("/first", url));
    const second = start(client, new URL("/second", url));
    const third = start(client, new URL("/third", url));
    await until(() => requests.length === 1);
    second.exchange.cancel();
    requests[0]?.socket.write(answerText(""));
    await until(() => third.told.length === 1);
    expect([first.told.length, second.told.length]).toEqual([1, 0]);
    expect(requests).toHaveLength(2);
  });

  test("one that has only just begun, and sends nothing", async () => {
    const { url, sockets } = await startPeer(({ socket }) => socket.write(answerText("")));
    const client = startClient();
    const { exchange, told } = start(client, url);
    exchange.cancel();
    await post(client, url);
    expect(told).toEqual([]);
    expect(sockets).toHaveLength(1);
  });

  test("nothing when it is over: its connection is another's by now", async () => {
    const { url } = await startPeer(({ socket, number }) => {
      if (number === 1) socket.write(answerText(""));
      else setImmediate(() => socket.write(answerText("second")));
    });
    const client = startClient();
    const first = start(client, url);
    await until(() => first.told.length === 1);
    const second = post(client, url);
    first.exchange.cancel();
    expect(textOf(await second)).toBe("second");
  });

  test("altogether: what is under way fails, idle connections are closed, nothing begins", async () => {
    const { url, sockets, requests } = await startPeer(({ socket, number }) => {
      if (number === 1) socket.write(answerText(""));
    });
    const client = startClient({ connectionsPerOriginMax: 1 });
    await post(client, url);
    const running = start(client, url);
    await until(() => requests.length === 2);
    const waiting = start(client, url);
    await client.close();
    await client.close();
    for (const { told } of [running, waiting, start(client, url)]) {
      expect(told).toEqual([expect.objectContaining({ code: "CLIENT_CLOSED" })]);
    }
    await gone(sockets[0]);
    expect(sockets).toHaveLength(1);
  });
});
