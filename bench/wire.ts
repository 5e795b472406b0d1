/**
 * The cheapest HTTP/1.1 that is still HTTP: requests are bytes made once, answers are found by their head.
 * A load generator that cost as much as what it measures would measure itself.
 */
import { Buffer } from "node:buffer";

const headEnd = Buffer.from("\r\n\r\n");

/** Finds whole messages in a byte stream; bodies are counted by content-length, chunked, or absent. */
export class MessageReader {
  #parts: Buffer[] = [];
  #size = 0;
  /** Fewer bytes than these cannot be a whole message. */
  #needed = 0;
  readonly #onMessage: (head: Buffer, body: Buffer) => void;

  constructor(onMessage: (head: Buffer, body: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return;
    let data = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    this.#needed = 0;
    for (;;) {
      const end = data.indexOf(headEnd);
      if (end === -1) break;
      const head = data.subarray(0, end + 4);
      const message = isChunked(head) ? chunkedBody(data, head.length) : countedBody(data, head);
      if ("needed" in message) {
        this.#needed = message.needed;
        break;
      }
      this.#onMessage(head, message.body);
      data = data.subarray(message.end);
    }
    this.#parts = data.length === 0 ? [] : [data];
    this.#size = data.length;
  }
}

/** A body and where it ends, or how many bytes there must at least be. */
type Body = { readonly body: Buffer; readonly end: number } | { readonly needed: number };

function countedBody(data: Buffer, head: Buffer): Body {
  const end = head.length + contentLength(head);
  return data.length < end ? { needed: end } : { body: data.subarray(head.length, end), end };
}

function isChunked(head: Buffer): boolean {
  if (head.indexOf("ransfer-") === -1) return false;
  return headerValue(head, "transfer-encoding")?.toLowerCase() === "chunked";
}

function chunkedBody(data: Buffer, from: number): Body {
  const chunks: Buffer[] = [];
  let at = from;
  for (;;) {
    const lineEnd = data.indexOf("\r\n", at);
    if (lineEnd === -1) return { needed: data.length + 1 };
    const length = Number.parseInt(data.toString("latin1", at, lineEnd), 16);
    if (Number.isNaN(length)) throw new Error("a chunk without a length");
    if (length === 0) {
      const end = data.indexOf(headEnd, lineEnd);
      return end === -1 ? { needed: data.length + 1 } : { body: Buffer.concat(chunks), end: end + 4 };
    }
    const start = lineEnd + 2;
    at = start + length + 2;
    if (data.length < at) return { needed: at };
    chunks.push(data.subarray(start, start + length));
  }
}

export function headerValue(head: Buffer, lowerCaseName: string): string | undefined {
  const text = head.toString("latin1");
  const at = text.toLowerCase().indexOf(`\r\n${lowerCaseName}:`);
  if (at === -1) return undefined;
  const from = at + lowerCaseName.length + 3;
  return text.slice(from, text.indexOf("\r\n", from)).trim();
}

function contentLength(head: Buffer): number {
  const at = head.indexOf("ontent-");
  if (at === -1) return 0;
  const value = headerValue(head, "content-length");
  return value === undefined ? 0 : Number(value);
}

export interface EventShape {
  readonly mode: "binary" | "structured" | "batch";
  /** Bytes of data per event. */
  readonly size: number;
  readonly type: string;
  /** Events in one batch. */
  readonly batch: number;
}

/** Builds requests of one shape; ids and send times differ, lengths never do. */
export class RequestTemplate {
  readonly #host: string;
  readonly #path: string;
  readonly #shape: EventShape;
  readonly #data: string;

  constructor(url: URL, shape: EventShape) {
    this.#host = url.host;
    this.#path = url.pathname + url.search;
    this.#shape = shape;
    this.#data = JSON.stringify({ pad: "x".repeat(Math.max(0, shape.size - 10)) });
  }

  get eventsPerRequest(): number {
    return this.#shape.mode === "batch" ? this.#shape.batch : 1;
  }

  /** `sentUs`: epoch microseconds at which the event was due, which the sink measures from. */
  request(ids: readonly string[], sentUs: number): Buffer {
    const { mode, type } = this.#shape;
    const id = ids[0] ?? "";
    if (mode === "binary") {
      return Buffer.from(
        `POST ${this.#path} HTTP/1.1\r\nhost: ${this.#host}\r\nce-specversion: 1.0\r\nce-id: ${id}\r\n` +
          `ce-source: /bench\r\nce-type: ${type}\r\nce-sentus: ${sentUs}\r\ncontent-type: application/json\r\n` +
          `content-length: ${this.#data.length}\r\n\r\n${this.#data}`,
        "latin1",
      );
    }
    const events = (mode === "batch" ? ids : [id]).map(
      (each) =>
        `{"specversion":"1.0","id":"${each}","source":"/bench","type":"${type}","sentus":"${sentUs}",` +
        `"datacontenttype":"application/json","data":${this.#data}}`,
    );
    const body = mode === "batch" ? `[${events.join(",")}]` : (events[0] ?? "");
    const media = mode === "batch" ? "application/cloudevents-batch+json" : "application/cloudevents+json";
    return Buffer.from(
      `POST ${this.#path} HTTP/1.1\r\nhost: ${this.#host}\r\ncontent-type: ${media}\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}`,
      "latin1",
    );
  }
}

/** Epoch microseconds, the same in every process of this machine. */
export function nowUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}
