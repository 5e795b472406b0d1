/**
 * Gathers what is published within one turn of the event loop, so that it leaves in one write: requests and
 * answers come in one by one, each in a tick of its own, and the system call costs more than all the rest.
 *
 * O1  order is kept; nothing waits longer than the turn it was sent in.
 * O2  what cannot be sent is told to the sender of that message alone.
 * O3  nothing that reaches a frame's first line can end it.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import { areWritten, writeFrames } from "../nats/raw.ts";

/**
 * `[name, value, …]`. The caller guarantees that none holds CR, LF or illegal characters: they are written as they
 * are.
 */
export type RawHeaders = readonly string[];

export interface SendOptions {
  readonly reply?: string;
  readonly headers?: RawHeaders;
  /** Called when the message does not go out (it is too large, the connection is closed). */
  readonly onRefused?: (cause: Error) => void;
}

interface Outgoing {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly options: SendOptions;
}

/** A frame that can be written: the lines before the payload, and how long they are. */
interface Frame {
  readonly head: string;
  readonly headBytes: number;
  readonly payload: Uint8Array;
}

const outboxes = new WeakMap<NatsConnection, Outbox>();

/** The one outbox of a connection. */
export function outboxOf(nc: NatsConnection): Outbox {
  const known = outboxes.get(nc);
  if (known !== undefined) return known;
  const outbox = new Outbox(nc);
  outboxes.set(nc, outbox);
  return outbox;
}

const none: SendOptions = {};
const headerStart = "NATS/1.0\r\n";
const illegal = /[\0-\x20\x7f]/;
const frameEnd = 0x0a0d;
/** What a turn usually fits into. Larger blocks are made anew: each would be fresh pages of the system. */
const blockBytesMax = 2 * 1024 * 1024;

export class Outbox {
  readonly #nc: NatsConnection;
  #waiting: Outgoing[] = [];
  #isScheduled = false;
  /** Written anew in each turn, once the system has the bytes of the one before. */
  #block: Buffer = Buffer.alloc(0);

  constructor(nc: NatsConnection) {
    this.#nc = nc;
  }

  /** Fire and forget, save for `onRefused`. */
  send(subject: string, payload: Uint8Array | string, options: SendOptions = none): void {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    this.#waiting.push({ subject, payload: bytes, options });
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.flush());
  }

  /** Sends at once; before the connection closes. */
  flush(): void {
    this.#isScheduled = false;
    const sending = this.#waiting;
    this.#waiting = [];
    const bytesMax = this.#nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
    const frames: Frame[] = [];
    let size = 0;
    for (const { subject, payload, options } of sending) {
      const frame = this.#nc.isClosed()
        ? new Error("the connection is closed")
        : frameOf(subject, payload, options, bytesMax);
      if (frame instanceof Error) options.onRefused?.(frame);
      else {
        frames.push(frame);
        size += frame.headBytes + payload.length + 2;
      }
    }
    if (size > 0) writeFrames(this.#nc, join(frames, this.#blockOf(size)));
  }

  #blockOf(size: number): Buffer {
    if (size > blockBytesMax || !areWritten(this.#nc)) return Buffer.allocUnsafe(size);
    if (size > this.#block.length) this.#block = Buffer.allocUnsafeSlow(Math.min(2 * size, blockBytesMax));
    return this.#block.subarray(0, size);
  }
}

function frameOf(
  subject: string,
  payload: Uint8Array,
  { reply = "", headers }: SendOptions,
  bytesMax: number,
): Frame | Error {
  if (subject === "" || illegal.test(subject) || illegal.test(reply)) return new Error("illegal subject");
  const to = reply === "" ? subject : `${subject} ${reply}`;
  const lines = headers === undefined ? "" : linesOf(headers);
  if (lines === "") {
    if (payload.length > bytesMax) return tooLarge(payload.length, bytesMax);
    const head = `PUB ${to} ${payload.length}\r\n`;
    return { head, headBytes: Buffer.byteLength(head), payload };
  }
  const headerBytes = headerStart.length + Buffer.byteLength(lines) + 2;
  const bytes = headerBytes + payload.length;
  if (bytes > bytesMax) return tooLarge(bytes, bytesMax);
  const command = `HPUB ${to} ${headerBytes} ${bytes}\r\n`;
  return {
    head: `${command}${headerStart}${lines}\r\n`,
    headBytes: Buffer.byteLength(command) + headerBytes,
    payload,
  };
}

function linesOf(headers: RawHeaders): string {
  let lines = "";
  for (let at = 0; at < headers.length; at += 2) lines += `${headers[at]}: ${headers[at + 1]}\r\n`;
  return lines;
}

/** `block` is exactly as long as all of them. */
function join(frames: readonly Frame[], block: Buffer): Uint8Array {
  let at = 0;
  for (const { head, headBytes, payload } of frames) {
    block.write(head, at, "utf8");
    block.set(payload, at + headBytes);
    at += headBytes + payload.length;
    at = block.writeUInt16LE(frameEnd, at);
  }
  return block;
}

function tooLarge(bytes: number, bytesMax: number): Error {
  return new Error(`${bytes} bytes with headers, over the server's max_payload of ${bytesMax}`);
}
