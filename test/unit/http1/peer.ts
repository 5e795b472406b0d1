/** A peer of the client that speaks in bytes: it records what it is sent and does what a script says. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

export interface Request {
  /** The whole of it, bytes as latin-1. */
  readonly text: string;
  readonly socket: Socket;
  /** From 1, over all connections. */
  readonly number: number;
}

export interface Peer {
  readonly port: number;
  readonly url: URL;
  readonly requests: readonly Request[];
  /** All that ever connected, in order. */
  readonly sockets: readonly Socket[];
  close(): Promise<void>;
}

/** `onRequest` is called when a request is there; with `atHead` when its head is, its body not read any further. */
export async function startPeer(
  onRequest: (request: Request) => void,
  { atHead = false, host = "127.0.0.1" } = {},
): Promise<Peer> {
  const requests: Request[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const length = requestLength(text, atHead);
      if (length === undefined || text.length < length) return;
      if (atHead) socket.pause();
      const request = { text: text.slice(0, length), socket, number: requests.length + 1 };
      text = text.slice(length);
      requests.push(request);
      onRequest(request);
    });
  });
  server.listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: new URL(`http://${host.includes(":") ? `[${host}]` : host}:${port}/`),
    requests,
    sockets,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export function answerText(body: string, { status = 200, headers = "" } = {}): string {
  return `HTTP/1.1 ${status} X\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`;
}

function requestLength(text: string, atHead: boolean): number | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const length = /\r\ncontent-length: (\d+)\r\n/.exec(text.slice(0, end + 2))?.[1];
  return end + 4 + (atHead ? 0 : Number(length));
}
