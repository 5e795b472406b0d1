/**
 * The sink, a process of its own: takes POSTs, answers 200 after a delay (or with a reply event) and measures
 * how long each event was on its way (`ce-sentus`). `GET /` tells what arrived; `GET /reset` starts a new count.
 *
 *     node bench/sink.ts '{"port":9000,"delayMs":10}'
 */
import { createServer, type Socket } from "node:net";
import { z } from "zod";
import { nowUs } from "./clock.ts";
import { Header } from "./header.ts";
import { Histogram, type Latency } from "./histogram.ts";
import { MessageReader } from "./message.ts";

export const sinkSchema = z.object({
  port: z.number().int().default(0),
  delayMs: z.number().min(0).default(0),
  /** The type of the reply event; absent answers without one. */
  reply: z.string().optional(),
});
export type SinkOptions = z.input<typeof sinkSchema>;

export interface SinkCount {
  readonly events: number;
  /** From the first to the last arrival. */
  readonly seconds: number;
  readonly perSecond: number;
  readonly latency: Latency;
}

const options = sinkSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
const emptyAnswer = Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
let count = 0;
let firstUs = 0;
let lastUs = 0;
let replies = 0;
let latency = new Histogram();

function answerBytes(): Buffer {
  if (options.reply === undefined) return emptyAnswer;
  return Buffer.from(
    `HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\nce-id: r${process.pid}-${replies++}\r\nce-source: /sink\r\n` +
      `ce-type: ${options.reply}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
  );
}

function onPost(socket: Socket, sentUs: number | undefined): void {
  const now = nowUs();
  count++;
  if (count === 1) firstUs = now;
  lastUs = now;
  if (sentUs !== undefined) latency.add(Math.max(0, now - sentUs));
  if (options.delayMs === 0) socket.write(answerBytes());
  else setTimeout(() => socket.write(answerBytes()), options.delayMs);
}

function onGet(socket: Socket, head: Buffer): void {
  socket.write(report());
  if (head.includes("/reset")) {
    count = 0;
    latency = new Histogram();
  }
}

function report(): string {
  const seconds = (lastUs - firstUs) / 1e6;
  const body = JSON.stringify({
    events: count,
    seconds,
    perSecond: seconds > 0 ? Math.round((count - 1) / seconds) : 0,
    latency: latency.summary(),
  } satisfies SinkCount);
  return `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

const server = createServer({ noDelay: true }, (socket) => {
  const sentUs = new Header("ce-sentus");
  const reader = new MessageReader((head) => {
    if (head[0] === 0x47 /* G */) onGet(socket, head);
    else onPost(socket, sentUs.number(head));
  });
  socket.on("data", (chunk: Buffer) => reader.push(chunk));
  socket.on("error", () => {});
});
server.listen(options.port, "127.0.0.1", () => {
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
process.on("SIGTERM", () => process.exit(0));
process.on("disconnect", () => process.exit(0));
