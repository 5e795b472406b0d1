/** Finds whole HTTP/1.1 messages in a byte stream; bodies are counted by content-length, chunked, or absent. */
import { Buffer } from "node:buffer";
import { Header } from "./header.ts";

const headEnd = Buffer.from("\r\n\r\n");

export class MessageReader {
  #parts: Buffer[] = [];
  #size = 0;
  /** Fewer bytes than these cannot be a whole message. */
  #needed = 0;
  readonly #onMessage: (head: Buffer, body: Buffer) => void;
  readonly #contentLength = new Header("content-length");
  readonly #transferEncoding = new Header("transfer-encoding");

  constructor(onMessage: (head: Buffer, body: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  /** Whether nothing of a message has come yet. */
  get isBetween(): boolean {
    return this.#size === 0;
  }

  /** The chunk is kept until its last message is whole: nobody may write to it any more. */
  push(chunk: Buffer): void {
    if (this.#size === 0) this.#keep(this.#read(chunk));
    else {
      this.#parts.push(chunk);
      this.#size += chunk.length;
      if (this.#size >= this.#needed) this.#keep(this.#read(Buffer.concat(this.#parts)));
    }
  }

  /** Of the last message, what there is of it. */
  #keep(rest: Buffer | undefined): void {
    if (rest === undefined && this.#size === 0) return;
    this.#parts = rest === undefined ? [] : [rest];
    this.#size = rest?.length ?? 0;
  }

  #read(bytes: Buffer): Buffer | undefined {
    this.#needed = 0;
    let data = bytes;
    for (;;) {
      const end = data.indexOf(headEnd);
      if (end === -1) return data;
      const head = data.subarray(0, end + headEnd.length);
      const message = this.#bodyOf(head, data);
      if ("needed" in message) {
        this.#needed = message.needed;
        return data;
      }
      this.#onMessage(head, message.body);
      if (message.end === data.length) return undefined;
      data = data.subarray(message.end);
    }
  }

  #bodyOf(head: Buffer, data: Buffer): Body {
    const length = this.#contentLength.number(head);
    if (length !== undefined) return countedBody(data, { from: head.length, length });
    const isChunked = this.#transferEncoding.text(head)?.toLowerCase() === "chunked";
    return isChunked ? chunkedBody(data, head.length) : countedBody(data, { from: head.length, length: 0 });
  }
}

/** A body and where it ends, or how many bytes there must at least be. */
type Body = { readonly body: Buffer; readonly end: number } | { readonly needed: number };

function countedBody(data: Buffer, { from, length }: { from: number; length: number }): Body {
  const end = from + length;
  return data.length < end ? { needed: end } : { body: data.subarray(from, end), end };
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
