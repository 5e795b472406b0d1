import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { FakeClock, systemClock } from "../../../src/mesh/clock.ts";
import { Sender, type SenderOptions } from "../../../src/mesh/dispatch/send.ts";
import { waitingMax } from "../../../src/mesh/http1/origin.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { until } from "../../support/until.ts";
import { answerText, startPeer as startBarePeer } from "../http1/peer.ts";

const timeoutMs = 5000;
let clock = new FakeClock();
let own = new CloseStack();

afterEach(async () => {
  await own.close();
  own = new CloseStack();
  clock = new FakeClock();
});

async function startPeer(...args: Parameters<typeof startBarePeer>) {
  return own.use("peer", await startBarePeer(...args));
}

function startSender(options: Partial<SenderOptions> = {}): Sender {
  return own.use("sender", new Sender({ clock, answerBytesMax: 1000, ...options }));
}

function send(
  sender: Sender,
  url: URL,
  { signal = new AbortController().signal, headers = [] as readonly string[] } = {},
): ReturnType<Sender["send"]> {
  return sender.send({ url, headers, body: Buffer.from("event"), timeoutMs, signal });
}

describe("Sender answers", () => {
  test("with what the subscriber said", async () => {
    const { url } = await startPeer(({ socket }) =>
      socket.write(answerText("body", { status: 202, headers: "A: b\r\n" })),
    );
    expect(await send(startSender(), url)).toEqual({
      kind: "answered",
      status: 202,
      headers: ["A", "b", "content-length", "4"],
      body: Buffer.from("body"),
      truncated: false,
      ms: 0,
    });
  });

  test("with a redirect, which it does not follow", async () => {
    const { url, requests } = await startPeer(({ socket }) =>
      socket.write(answerText("", { status: 307, headers: "location: /other\r\n" })),
    );
    expect(await send(startSender(), url)).toMatchObject({ kind: "answered", status: 307 });
    expect(requests).toHaveLength(1);
  });

  test("with the beginning of an answer that is too long", async () => {
    const { url } = await startPeer(({ socket }) => socket.write(answerText("a".repeat(1001))));
    const result = await send(startSender(), url);
    expect(result).toMatchObject({ truncated: true, body: Buffer.from("a".repeat(1000)) });
  });
});

describe("Sender tells how an attempt failed", () => {
  test.each([
    ["reset", "ConnectionReset"],
    ["end", "ConnectionReset"],
    ["nonsense\r\n", "ConnectionFailed"],
  ])("by a subscriber that does %j: %s", async (act, error) => {
    const { url } = await startPeer(({ socket }) => {
      if (act === "reset") socket.resetAndDestroy();
      else if (act === "end") socket.end();
      else socket.write(act);
    });
    const result = await send(startSender(), url);
    expect(result).toMatchObject({ kind: "failed", error, message: expect.stringMatching(/\w{4}/) });
  });

  test("by nobody there", async () => {
    const { url, close } = await startPeer(() => {});
    await close();
    expect(await send(startSender(), url)).toMatchObject({ kind: "failed", error: "ConnectionRefused" });
  });

  test("by a header that would be two", async () => {
    const { url, sockets } = await startPeer(() => {});
    const result = await send(startSender(), url, { headers: ["a", "1\r\nb: 2"] });
    expect(result).toMatchObject({
      kind: "failed",
      error: "ConnectionFailed",
      message: 'the header "a" cannot be sent',
    });
    expect(sockets).toHaveLength(0);
  });

  test("over TLS, to a peer that does not speak it", async () => {
    let first = "";
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (chunk) => {
        first = chunk.toString("latin1");
        socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    own.defer("server", () => void server.close());
    const { port } = server.address() as AddressInfo;
    const result = await send(startSender(), new URL(`https://127.0.0.1:${port}/`));
    expect(result).toMatchObject({ kind: "failed", error: "ConnectionFailed" });
    // A handshake record (RFC 8446 §5.1).
    expect(first.charCodeAt(0)).toBe(22);
  });
});

const answerParts: readonly (readonly [string, string])[] = [
  ["the answer", ""],
  ["the rest of the head", "HTTP/1.1 200 OK\r\n"],
  ["the rest of the body", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"],
];

describe("Sender gives up at the deadline", () => {
  test.each(answerParts)("when it waits for %s", async (_name, text) => {
    const { url, requests, sockets } = await startPeer(({ socket }) => socket.write(text));
    const sent = send(startSender(), url);
    await until(() => requests.length === 1);
    await clock.advance(timeoutMs);
    expect(await sent).toEqual({
      kind: "failed",
      error: "Timeout",
      message: `no answer within ${timeoutMs} ms`,
      ms: timeoutMs,
    });
    await until(() => sockets[0]?.closed);
  });

  test("when it waits for a connection", async () => {
    const { url, requests } = await startPeer(() => {});
    const sender = startSender({ connectionsPerOriginMax: 1 });
    const first = send(sender, url);
    await until(() => requests.length === 1);
    await clock.advance(1000);
    const second = send(sender, url);
    await clock.advance(timeoutMs - 1000);
    expect(await first).toMatchObject({ error: "Timeout" });
    await until(() => requests.length === 2);
    await clock.advance(1000);
    expect(await second).toMatchObject({ error: "Timeout", ms: timeoutMs });
  });

  test("without having made an attempt, when no connection was free", async () => {
    const { url, requests } = await startPeer(() => {});
    const sender = startSender({ connectionsPerOriginMax: 1 });
    const { signal } = new AbortController();
    const first = sender.send({ url, headers: [], body: undefined, timeoutMs: 2 * timeoutMs, signal });
    await until(() => requests.length === 1);
    const second = send(sender, url);
    await clock.advance(timeoutMs);
    expect(await second).toEqual({
      kind: "unavailable",
      message: `no connection was free within ${timeoutMs} ms`,
    });
    await clock.advance(timeoutMs);
    expect(await first).toMatchObject({ error: "Timeout" });
    expect(requests).toHaveLength(1);
  });

  test("but not when it was answered before", async () => {
    const { url } = await startPeer(({ socket }) => socket.write(answerText("")));
    const result = await send(startSender(), url);
    await clock.advance(timeoutMs);
    expect(result).toMatchObject({ kind: "answered" });
  });
});

describe("Sender aborts", () => {
  test("an attempt whose signal was aborted before, without a connection", async () => {
    const { url, sockets } = await startPeer(() => {});
    const result = await send(startSender(), url, { signal: AbortSignal.abort() });
    expect(result).toEqual({ kind: "aborted", ms: 0 });
    expect(sockets).toHaveLength(0);
  });

  test("all attempts under the signal, in line or not, and no others", async () => {
    const { url, requests, sockets } = await startPeer(({ socket, text }) => {
      if (text.includes("/answered")) socket.write(answerText(""));
    });
    const sender = startSender({ connectionsPerOriginMax: 3 });
    const worker = new AbortController();
    const { signal } = worker;
    expect(await send(sender, new URL("/answered", url), { signal })).toMatchObject({ kind: "answered" });
    const other = send(sender, url);
    await until(() => requests.length === 2);
    const stopped = Array.from({ length: 4 }, () => send(sender, url, { signal }));
    await until(() => requests.length === 4);
    worker.abort();
    for (const result of await Promise.all(stopped)) expect(result).toEqual({ kind: "aborted", ms: 0 });
    await until(() => sockets.filter(({ closed }) => closed).length === 2);
    requests[1]?.socket.write(answerText(""));
    expect(await other).toMatchObject({ kind: "answered" });
  });

  test("what is under way when it is closed", async () => {
    const { url, requests } = await startPeer(() => {});
    const sender = startSender();
    const sent = send(sender, url);
    await until(() => requests.length === 1);
    await sender.close();
    expect(await sent).toMatchObject({ kind: "aborted" });
    expect(await send(sender, url)).toMatchObject({ kind: "aborted" });
  });
});

test("Sender sends nothing, and counts no attempt, when too many wait for one host already", async () => {
  const { url } = await startPeer(() => {});
  const sender = startSender({ connectionsPerOriginMax: 1, clock: systemClock });
  const stopping = new AbortController();
  const { signal } = stopping;
  const waiting = Array.from({ length: waitingMax }, () => send(sender, url, { signal }));
  expect(await send(sender, url, { signal })).toEqual({
    kind: "unavailable",
    message: expect.stringContaining(`${waitingMax} wait`),
  });
  stopping.abort();
  expect(new Set((await Promise.all(waiting)).map(({ kind }) => kind))).toEqual(new Set(["aborted"]));
});
