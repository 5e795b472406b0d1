/** Opens a Hono app on a port, with bounds fit for events; says clearly when the port is taken. */
import type { Server } from "node:http";
import type { Socket } from "node:net";
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
}

/** Room for 64 KiB of attributes, percent-encoded in part, and the usual headers. */
const headerBytesMax = 256 * 1024;
/** Longer than the idle time of common clients, so that it is them who close. */
const keepAliveMs = 75_000;
const closeGraceMs = 1000;

/** Rejects with PORT_TAKEN, or with CONFIG_INVALID when the address is not ours. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { fetch, host, port, flag, plain, clock } = options;
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
  const lane = plain === undefined ? undefined : plainLane(server, plain, clock);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, { host, port, flag })));
    server.listen(port, host, () => resolve());
  });
  const address = server.address();
  const bound = address !== null && typeof address === "object" ? address.port : port;
  let closing: Promise<void> | undefined;
  const stopAccepting = () => {
    closing ??= new Promise((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    lane?.finish();
  };
  return {
    port: bound,
    stopAccepting,
    async close() {
      stopAccepting();
      const cut = clock.after(closeGraceMs, () => {
        server.closeAllConnections();
        lane?.close();
      });
      await closing;
      cut.cancel();
      lane?.close();
    },
  };
}

/** Connections begin in the plain lane; the server's own way of taking one is for those that leave it. */
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
