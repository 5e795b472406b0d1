import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import { type PlainAnswer, PlainLane, type PlainRequest } from "../../../src/mesh/http1/plain-lane.ts";
import { until } from "../../support/until.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const ok = (body: string): PlainAnswer => ({ status: 202, fields: ["x-lane", "plain"], body });
const post = (body: string, extra = "") =>
  `POST /a/b HTTP/1.1\r\nhost: h\r\n${extra}content-length: ${body.length}\r\n\r\n${body}`;

interface Fixture {
  readonly lane: PlainLane;
  readonly clock: FakeClock;
  readonly port: number;
  /** Bodies of requests in the plain lane, in order. */
  readonly taken: string[];
  /** Methods and bodies of those that node:http answered. */
  readonly handedOver: string[];
  connect(): Promise<Client>;
}

interface Client {
  readonly socket: Socket;
  /** Everything received so far. */
  text(): string;
}

/** A node:http server whose connections begin in the lane, as listen.ts does it. */
async function start(
  answer: (request: PlainRequest) => Promise<PlainAnswer> = async ({ body }) => ok(body.toString()),
  takes = () => true,
): Promise<Fixture> {
  const clock = new FakeClock();
  const taken: string[] = [];
  const handedOver: string[] = [];
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      handedOver.push(`${request.method} ${Buffer.concat(chunks)}`);
      response.writeHead(200, { "x-lane": "node" }).end("by node");
    });
  });
  const takers = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  const lane = new PlainLane({
    handler: {
      takes,
      answer: (request) => {
        taken.push(request.body.toString());
        return answer(request);
      },
    },
    handOver: (socket) => {
      for (const take of takers) take.call(server, socket);
    },
    keepAliveMs: 10_000,
    clock,
  });
  server.on("connection", (socket: Socket) => lane.take(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  cleanups.push(async () => {
    lane.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    ...{ lane, clock, port, taken, handedOver },
    async connect() {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
      let text = "";
      socket.setEncoding("latin1").on("data", (chunk: string) => {
        text += chunk;
      });
      socket.on("error", () => {});
      await once(socket, "connect");
      cleanups.push(() => void socket.destroy());
      return { socket, text: () => text };
    },
  };
}

const answersIn = (text: string) => text.split("HTTP/1.1 ").length - 1;
const bodies = (text: string) =>
  text
    .split("HTTP/1.1 ")
    .slice(1)
    .map((each) => each.slice(each.indexOf("\r\n\r\n") + 4));

describe("the plain lane", () => {
  test("answers one request after the other on one connection", async () => {
    const { connect, taken, handedOver } = await start();
    const { socket, text } = await connect();
    for (const body of ["one", "two", ""]) {
      socket.write(post(body));
      await until(() => text().endsWith(`\r\n\r\n${body}`) && answersIn(text()) === taken.length);
    }
    expect(taken).toEqual(["one", "two", ""]);
    expect(handedOver).toEqual([]);
    expect(text()).toContain("HTTP/1.1 202 Accepted\r\nx-lane: plain\r\nDate: ");
    expect(text()).toContain("Keep-Alive: timeout=10\r\ncontent-length: 3\r\n\r\none");
  });

  test("reads requests in whatever pieces they come", async () => {
    const { connect, taken } = await start();
    const { socket, text } = await connect();
    for (const byte of post("slow")) {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => answersIn(text()) === 1);
    expect(taken).toEqual(["slow"]);
  });

  test("answers pipelined requests in order, one at a time", async () => {
    const running: (() => void)[] = [];
    const { connect, taken } = await start(
      ({ body }) => new Promise((resolve) => running.push(() => resolve(ok(body.toString())))),
    );
    const { socket, text } = await connect();
    socket.write(post("1") + post("2") + post("3"));
    for (const count of [1, 2, 3]) {
      await until(() => running.length === count);
      expect(taken).toHaveLength(count);
      running[count - 1]?.();
    }
    await until(() => answersIn(text()) === 3);
    expect(bodies(text())).toEqual(["1", "2", "3"]);
  });

  test("stops reading while too much waits behind an answer, and reads all of it after", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { connect, taken } = await start(async () => {
      await held;
      return ok("");
    });
    const { socket, text } = await connect();
    const body = "x".repeat(250_000);
    // More than the system keeps for both ends of a connection.
    const count = 240;
    for (let i = 0; i < count; i++) socket.write(post(body));
    await until(() => taken.length === 1 && socket.writableLength > 0);
    release();
    await until(() => answersIn(text()) === count);
    expect(taken.every((each) => each === body)).toBe(true);
  });

  test("does not answer faster than its answers are read", async () => {
    const { connect, taken } = await start(async () => ok("x".repeat(60_000)));
    const { socket, text } = await connect();
    const count = 1200;
    socket.pause();
    socket.write(post("").repeat(count));
    let before = -1;
    // More answers than the system keeps for both ends of a connection: it comes to a halt.
    await until(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const isHalted = taken.length === before;
      before = taken.length;
      return isHalted;
    });
    expect(taken.length).toBeLessThan(count);
    socket.resume();
    await until(() => answersIn(text()) === count);
  });

  test.each([
    ["another method", "GET /x HTTP/1.1\r\nhost: h\r\n\r\n", "GET "],
    [
      "a chunked body",
      "POST /a/b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
      "POST body",
    ],
    ["an old version", "POST /a/b HTTP/1.0\r\ncontent-length: 4\r\n\r\nbody", "POST body"],
    ["a large body", post("x".repeat(300_000)), `POST ${"x".repeat(300_000)}`],
    ["a long head", post("body", `ce-long: ${"x".repeat(20_000)}\r\n`), "POST body"],
  ])("hands a connection with %s over, also after requests of its own", async (_name, text, seen) => {
    const { connect, taken, handedOver } = await start();
    for (const before of [0, 1, 3]) {
      const client = await connect();
      client.socket.write(post("mine").repeat(before) + text);
      await until(() => client.text().includes("by node"));
      expect(answersIn(client.text())).toBe(before + 1);
      expect(handedOver.splice(0)).toEqual([seen]);
      expect(taken.splice(0)).toEqual(Array(before).fill("mine"));
    }
  });

  test("hands over a connection whose bytes come one by one, at any of them", async () => {
    const { connect, handedOver } = await start();
    const { socket, text } = await connect();
    for (const byte of "POST /a/b HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi") {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => text().includes("by node"));
    expect(handedOver).toEqual(["POST hi"]);
  });

  test("hands over what the handler does not take, and the connection stays there", async () => {
    const { connect, taken, handedOver } = await start(undefined, () => false);
    const { socket, text } = await connect();
    socket.write(post("1") + post("2"));
    await until(() => answersIn(text()) === 2);
    socket.write(post("3"));
    await until(() => answersIn(text()) === 3);
    expect(handedOver).toEqual(["POST 1", "POST 2", "POST 3"]);
    expect(taken).toEqual([]);
  });

  test("what is malformed gets node:http's refusal", async () => {
    const { connect } = await start();
    const { socket, text } = await connect();
    socket.write("POST /a/b HTTP/1.1\r\nhost: h\r\nhost: i\r\nbad line\r\n\r\n");
    await until(() => text().startsWith("HTTP/1.1 400"));
  });

  test("takes nothing more once it has ended", async () => {
    let release = () => {};
    const { connect, lane, taken } = await start(
      ({ body }) =>
        new Promise((resolve) => {
          release = () => resolve(ok(body.toString()));
        }),
    );
    const { socket, text } = await connect();
    socket.write(post("first") + post("second"));
    await until(() => taken.length === 1);
    lane.finish();
    release();
    await once(socket, "end");
    socket.write(post("third"));
    await until(() => socket.closed || socket.destroyed || socket.writableLength === 0);
    expect(taken).toEqual(["first"]);
    expect(bodies(text())).toEqual(["first"]);
  });

  test("answers a client that has sent all it will, and ends", async () => {
    const { connect } = await start();
    const { socket, text } = await connect();
    socket.end(post("last"));
    await once(socket, "end");
    expect(bodies(text())).toEqual(["last"]);
  });

  test.each(["POST /a/b HTT", post("body").slice(0, -2)])("drops a request cut short: %j", async (text) => {
    const { connect, taken } = await start();
    const { socket } = await connect();
    socket.end(text);
    await once(socket, "close");
    expect(taken).toEqual([]);
  });

  test("a client that goes away while it waits harms nobody", async () => {
    let release = () => {};
    const { connect, taken } = await start(
      ({ body }) =>
        new Promise((resolve) => {
          release = () => resolve(ok(body.toString()));
        }),
    );
    const gone = await connect();
    gone.socket.write(post("gone"));
    await until(() => taken.length === 1);
    gone.socket.resetAndDestroy();
    await once(gone.socket, "close");
    release();
    const { socket, text } = await connect();
    socket.write(post("here"));
    await until(() => taken.length === 2);
    release();
    await until(() => text().endsWith("here"));
  });

  test("finish ends idle connections at once and others with their answer", async () => {
    let release = () => {};
    const { connect, lane, taken } = await start(
      ({ body }) =>
        new Promise((resolve) => {
          release = () => resolve(ok(body.toString()));
        }),
    );
    const [idle, busy, arriving] = [await connect(), await connect(), await connect()];
    busy.socket.write(post("busy"));
    arriving.socket.write(post("late").slice(0, -1));
    await until(() => taken.length === 1);
    const idleEnded = once(idle.socket, "end");
    lane.finish();
    await idleEnded;
    release();
    await once(busy.socket, "end");
    expect(busy.text()).toContain("Connection: close\r\n");
    arriving.socket.write("e");
    await until(() => taken.length === 2);
    release();
    await once(arriving.socket, "end");
    expect(bodies(arriving.text())).toEqual(["late"]);
  });

  test("closes connections that idle, or take too long over a request, and no others", async () => {
    let release = () => {};
    const { connect, clock, taken } = await start(
      () =>
        new Promise((resolve) => {
          release = () => resolve(ok(""));
        }),
    );
    const [idle, slow, large, busy] = [await connect(), await connect(), await connect(), await connect()];
    slow.socket.write("POST /a");
    large.socket.write(post("large").slice(0, -1));
    busy.socket.write(post("busy"));
    await until(() => taken.length === 1);
    // The lane must have read the beginning of the slow one: its own clock says nothing of that.
    const another = await connect();
    another.socket.write(post("x"));
    await until(() => taken.length === 2);
    release();
    await until(() => answersIn(another.text()) === 1);
    const idleClosed = once(idle.socket, "end");
    for (let i = 0; i < 4; i++) await clock.advance(5000);
    await idleClosed;
    expect(slow.text()).toBe("");
    for (let i = 0; i < 12; i++) await clock.advance(5000);
    await until(() => slow.text().startsWith("HTTP/1.1 408"));
    expect(large.text()).toBe("");
    for (let i = 0; i < 49; i++) await clock.advance(5000);
    await until(() => large.text().startsWith("HTTP/1.1 408"));
    expect(busy.socket.readableEnded).toBe(false);
  });

  test("serves clients of node:http as node:http does", async () => {
    const { port, taken, handedOver } = await start();
    const agent = new (await import("node:http")).Agent({ keepAlive: true, maxSockets: 1 });
    cleanups.push(() => agent.destroy());
    const send = (method: string, body: string) =>
      new Promise<string>((resolve, reject) => {
        const sent = httpRequest({ port, host: "127.0.0.1", path: "/a/b", method, agent }, (response) => {
          response.setEncoding("utf8");
          let text = "";
          response.on("data", (chunk: string) => {
            text += chunk;
          });
          response.on("end", () => resolve(text));
        });
        sent.on("error", reject);
        sent.setHeader("content-length", Buffer.byteLength(body));
        sent.end(body);
      });
    expect([await send("POST", "1"), await send("POST", "2"), await send("PUT", "3")]).toEqual([
      "1",
      "2",
      "by node",
    ]);
    expect(await send("POST", "4")).toBe("by node");
    expect(taken).toEqual(["1", "2"]);
    expect(handedOver).toEqual(["PUT 3", "POST 4"]);
  });
});
