/**
 * Opens a Hono app on a port, with bounds fit for events; says clearly when the port is taken. Connections may be
 * shared out to other processes, which serve what they are given without listening.
 */
import type { Server } from "node:http";
import { type Server as AcceptingServer, createServer as createAcceptor, type Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Clock } from "./clock.ts";
import { MeshError } from "./errors.ts";
import { type PlainHandler, PlainLane } from "./http1/plain-lane.ts";
import type { Closeable } from "./lifecycle.ts";

export interface Listener extends Closeable {
  readonly port: number;
  /** Takes no new connection; requests under way may finish. */
  stopAccepting(): void;
}

export interface ListenOptions {
  readonly fetch: Parameters<typeof createAdaptorServer>[0]["fetch"];
  readonly host: string;
  readonly port: number;
  /** The flag that changes the port. */
  readonly flag: string;
  /** Answers the requests it takes; `fetch` has the rest. */
  readonly plain?: PlainHandler;
  readonly clock: Clock;
  /** Asked about each new connection; true when another process has taken it. Absent: all are served here. */
  readonly share?: (socket: Socket) => boolean;
}

/** Serves connections that another server, or another process, has accepted. */
export interface Taker extends Closeable {
  take(socket: Socket): void;
  /** Takes no new connection; requests under way may finish. */
  stopAccepting(): void;
}

/** Room for 64 KiB of attributes, percent-encoded in part, and the usual headers. */
const headerBytesMax = 256 * 1024;
/** Longer than the idle time of common clients, so that it is them who close. */
const keepAliveMs = 75_000;
const closeGraceMs = 1000;

/** Rejects with PORT_TAKEN, or with CONFIG_INVALID when the address is not ours. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { host, port, flag, share } = options;
  const { server, ...door } = share === undefined ? ownDoor(options) : sharedDoor(options, share);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, { host, port, flag })));
    server.listen(port, host, () => resolve());
  });
  const address = server.address();
  const bound = address !== null && typeof address === "object" ? address.port : port;
  return { port: bound, ...door };
}

/** Where connections come in, before it listens. */
interface Door extends Omit<Listener, "port"> {
  readonly server: AcceptingServer;
}

function ownDoor(options: ListenOptions): Door {
  const serving = servingOf(options);
  const { server } = serving;
  let closing: Promise<void> | undefined;
  const stopAccepting = () => {
    closing ??= new Promise((resolve) => server.close(() => resolve()));
    serving.finish();
  };
  return {
    server,
    stopAccepting,
    async close() {
      stopAccepting();
      const cut = options.clock.after(closeGraceMs, () => serving.cut());
      await closing;
      cut.cancel();
      serving.end();
    },
  };
}

/**
 * Nothing is read of a connection before it is known who reads it.
 *
 * The end of `Server.close` is not waited for: once connections went to child processes, Node.js asks these how many
 * they have, never hears of those that have died, and forgets the ones that stayed here. Those are known to `taker`.
 */
function sharedDoor(options: ListenOptions, share: (socket: Socket) => boolean): Door {
  const taker = serveTaken(options);
  const server = createAcceptor({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) => {
    if (!share(socket)) taker.take(socket);
  });
  const stopAccepting = () => {
    if (server.listening) server.close();
    taker.stopAccepting();
  };
  return {
    server,
    stopAccepting,
    async close() {
      stopAccepting();
      await taker.close();
    },
  };
}

export function serveTaken(options: Pick<ListenOptions, "fetch" | "plain" | "clock">): Taker {
  const serving = servingOf(options);
  const serve = serveUnheard(serving.server);
  const open = new Set<Socket>();
  let isAccepting = true;
  let onEmpty = () => {};
  const stopAccepting = () => {
    isAccepting = false;
    serving.finish();
  };
  return {
    take(socket) {
      if (!isAccepting) {
        socket.destroy();
        return;
      }
      open.add(socket);
      socket.once("close", () => {
        open.delete(socket);
        if (open.size === 0) onEmpty();
      });
      // As a server would have it that accepts the connection itself.
      socket.allowHalfOpen = true;
      socket.setNoDelay(true);
      serve(socket);
    },
    stopAccepting,
    async close() {
      stopAccepting();
      const cut = options.clock.after(closeGraceMs, () => {
        for (const socket of open) socket.destroy();
      });
      while (open.size > 0) {
        await new Promise<void>((resolve) => {
          onEmpty = resolve;
        });
      }
      cut.cancel();
      serving.end();
    },
  };
}

/** A server that may not listen itself, and the plain lane its connections begin in. */
interface Serving {
  readonly server: Server;
  /** Requests under way are answered, then their connections end; idle ones end at once. */
  finish(): void;
  /** Closes every connection. */
  cut(): void;
  /** Lets go of what it holds besides connections. */
  end(): void;
}

function servingOf({ fetch, plain, clock }: Pick<ListenOptions, "fetch" | "plain" | "clock">): Serving {
  const server = serverOf(fetch);
  const lane = plain === undefined ? undefined : plainLane(server, plain, clock);
  return {
    server,
    finish() {
      server.closeIdleConnections();
      lane?.finish();
    },
    cut() {
      server.closeAllConnections();
      lane?.close();
    },
    end() {
      server.close();
      lane?.close();
    },
  };
}

/** The server's own way of taking a connection is for those that leave the lane. */
function plainLane(server: Server, handler: PlainHandler, clock: Clock): PlainLane {
  const takers = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  const lane = new PlainLane({
    handler,
    handOver: (socket) => {
      for (const take of takers) take.call(server, socket);
    },
    keepAliveMs,
    clock,
  });
  server.on("connection", (socket: Socket) => lane.take(socket));
  return lane;
}

function serverOf(fetch: ListenOptions["fetch"]): Server {
  const server = createAdaptorServer({
    fetch,
    serverOptions: { maxHeaderSize: headerBytesMax, keepAliveTimeout: keepAliveMs },
  }) as Server;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) return;
    const refusal =
      error.code === "HPE_HEADER_OVERFLOW"
        ? new MeshError("HEADERS_TOO_LARGE", { expected: `at most ${headerBytesMax} bytes of headers` })
        : new MeshError("REQUEST_INVALID", { found: error.code ?? "an unreadable request" });
    const body = JSON.stringify(refusal.toProblem());
    const status = refusal.status === 431 ? "431 Request Header Fields Too Large" : "400 Bad Request";
    socket.end(
      `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/problem+json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
  return server;
}

/** Lets a server that does not listen serve connections. */
function serveUnheard(server: Server): (socket: Socket) => void {
  // Node.js begins to watch a server's connections (idle ones, slow headers) with this event.
  server.emit("listening");
  return (socket) => {
    server.emit("connection", socket);
    socket.resume();
  };
}

function cannotListen(
  error: NodeJS.ErrnoException,
  { host, port, flag }: { host: string; port: number; flag: string },
): MeshError {
  if (error.code === "EADDRINUSE") {
    return new MeshError("PORT_TAKEN", {
      field: `${host}:${port} belongs to another process`,
      fix: `See which with \`lsof -i :${port}\` (or \`ss -ltnp\`) and stop it, or choose another port with ${flag}`,
      cause: error,
    });
  }
  return new MeshError("CONFIG_INVALID", {
    field: flag,
    found: `${host}:${port} (${error.message})`,
    cause: error,
  });
}
