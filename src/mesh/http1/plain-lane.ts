/**
 * The short way of requests through a connection: those in the plainest form are read and answered here, at half
 * of what node:http costs; with the first that is not, the connection goes over to node:http for good, with
 * every byte that was not answered yet.
 *
 * P1  one request of a connection is answered at a time, in order, and the next only once the answer before has
 *     left; what comes meanwhile waits, bounded.
 * P2  nothing is read twice or lost when the connection goes over.
 * P3  a request must come within bounds of time, as with node:http; a connection without one is closed when it has
 *     idled.
 * P4  after its own end nothing is taken any more: nobody could be told what became of it.
 */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Clock, Timer } from "../clock.ts";
import { type PlainHead, readPlainHead } from "./plain-request.ts";

export interface PlainRequest extends PlainHead {
  /** May be a view of what was read; never changes. */
  readonly body: Buffer;
}

export interface PlainAnswer {
  readonly status: number;
  /** `[name, value, …]` besides those of every answer. */
  readonly fields: readonly string[];
  readonly body: string;
}

export interface PlainHandler {
  /** Whether the request can be answered here. Must not throw. */
  takes(head: PlainHead): boolean;
  /** Must not reject. */
  answer(request: PlainRequest): Promise<PlainAnswer>;
}

export interface PlainLaneOptions {
  readonly handler: PlainHandler;
  /** Serves the connection from here on; unread bytes are in it. */
  readonly handOver: (socket: Socket) => void;
  readonly keepAliveMs: number;
  readonly clock: Clock;
}

/** Longer heads, and larger bodies, go the way where every byte read is checked against a bound. */
const headBytesMax = 16 * 1024;
const bodyBytesMax = 256 * 1024;
/** Of requests that follow while one is answered. */
const waitingBytesMax = 64 * 1024;
/** The bounds of node:http: for the head, and for all of a request. */
const headMs = 60_000;
const requestMs = 300_000;
/** A client that does not read its answers. */
const unreadMs = 60_000;
/** A client that does not close after we did. */
const closeMs = 5000;
const sweepMs = 5000;
const timedOut = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\ncontent-length: 0\r\n\r\n";

export class PlainLane {
  readonly #options: PlainLaneOptions;
  readonly #connections = new Set<Connection>();
  readonly #sweeper: Timer;
  #isClosing = false;

  constructor(options: PlainLaneOptions) {
    this.#options = options;
    this.#sweeper = options.clock.every(sweepMs, () => this.#sweep());
  }

  take(socket: Socket): void {
    const { handler, handOver, keepAliveMs, clock } = this.#options;
    const connection: Connection = new Connection(socket, {
      handler,
      clock,
      keepAliveSeconds: Math.floor(keepAliveMs / 1000),
      onLeft: () => this.#connections.delete(connection),
      handOver,
    });
    this.#connections.add(connection);
    if (this.#isClosing) connection.finish();
  }

  /** Requests under way are answered, then their connections end; the idle ones end at once. */
  finish(): void {
    this.#isClosing = true;
    for (const connection of this.#connections) connection.finish();
  }

  close(): void {
    this.finish();
    this.#sweeper.cancel();
    for (const connection of this.#connections) connection.destroy();
  }

  #sweep(): void {
    const now = this.#options.clock.monotonic();
    for (const connection of this.#connections) connection.checkTime(now, this.#options.keepAliveMs);
  }
}

interface ConnectionOptions {
  readonly handler: PlainHandler;
  readonly clock: Clock;
  readonly keepAliveSeconds: number;
  readonly onLeft: () => void;
  readonly handOver: (socket: Socket) => void;
}

/** A connection while it is in the plain lane. */
class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  /** Read and not answered, in the order of arrival. */
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Fewer bytes than these are no whole request. */
  #needed = 0;
  #head: PlainHead | undefined;
  /** A request is being answered. */
  #isBusy = false;
  /** The answers before have not left yet. */
  #isBlocked = false;
  /** The peer sends nothing more. */
  #hasEnded = false;
  #isFinishing = false;
  #isPaused = false;
  /** Seen by the sweep in its present state since then. */
  #sinceMs: number | undefined;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
    socket.on("drain", this.#onDrain);
  }

  finish(): void {
    this.#isFinishing = true;
    if (!this.#isBusy && this.#bytes === 0) this.#end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** P3. */
  checkTime(nowMs: number, keepAliveMs: number): void {
    if (this.#isBusy) return;
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs <= this.#patienceMs(keepAliveMs)) return;
    const isArriving = this.#bytes > 0 && !this.#isBlocked && !this.#socket.writableEnded;
    if (isArriving) this.#end(timedOut);
    else this.destroy();
  }

  #patienceMs(keepAliveMs: number): number {
    if (this.#socket.writableEnded) return closeMs;
    if (this.#isBlocked) return unreadMs;
    if (this.#bytes === 0) return keepAliveMs;
    return this.#head === undefined ? headMs : requestMs;
  }

  readonly #onData = (chunk: Buffer): void => {
    // P4.
    if (this.#socket.writableEnded) return;
    if (this.#bytes === 0) this.#sinceMs = undefined;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#isBusy || this.#isBlocked) this.#holdBack();
    else if (this.#bytes >= this.#needed) this.#read();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    if (!this.#isBusy) this.#end();
  };

  readonly #onDrain = (): void => {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    this.#sinceMs = undefined;
    this.#goOn();
  };

  readonly #onError = (): void => {
    this.#socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#options.onLeft();
  };

  /** P1. */
  #holdBack(): void {
    if (this.#bytes <= waitingBytesMax || this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  #read(): void {
    const bytes = this.#joined();
    if (this.#head === undefined) {
      const reading = readPlainHead(bytes, headBytesMax);
      if (reading.kind === "incomplete") {
        this.#wait(bytes.length + 1);
        return;
      }
      if (reading.kind === "other" || !this.#fits(reading.head)) {
        this.#leave();
        return;
      }
      this.#head = reading.head;
    }
    const { headBytes, bodyBytes } = this.#head;
    const end = headBytes + bodyBytes;
    if (bytes.length < end) {
      this.#wait(end);
      return;
    }
    const request = { ...this.#head, body: bytes.subarray(headBytes, end) };
    this.#head = undefined;
    this.#needed = 0;
    this.#chunks = bytes.length === end ? [] : [bytes.subarray(end)];
    this.#bytes = bytes.length - end;
    this.#isBusy = true;
    void this.#options.handler.answer(request).then((answer) => this.#answer(answer));
  }

  #wait(bytes: number): void {
    this.#needed = bytes;
    if (this.#hasEnded) this.#end();
  }

  #fits(head: PlainHead): boolean {
    return head.bodyBytes <= bodyBytesMax && this.#options.handler.takes(head);
  }

  #joined(): Buffer {
    const [only] = this.#chunks;
    if (only !== undefined && this.#chunks.length === 1) return only;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #answer({ status, fields, body }: PlainAnswer): void {
    const socket = this.#socket;
    this.#isBusy = false;
    this.#sinceMs = undefined;
    if (socket.destroyed) return;
    const isLast = this.#isFinishing || (this.#hasEnded && this.#bytes === 0);
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`;
    for (let at = 0; at < fields.length; at += 2) head += `${fields[at]}: ${fields[at + 1]}\r\n`;
    head += `Date: ${dateOf(this.#options.clock)}\r\n`;
    head += isLast
      ? "Connection: close\r\n"
      : `Connection: keep-alive\r\nKeep-Alive: timeout=${this.#options.keepAliveSeconds}\r\n`;
    if (body === "") socket.write(`${head}content-length: 0\r\n\r\n`, "latin1");
    else socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    if (isLast) this.#end();
    else if (socket.writableNeedDrain) {
      this.#isBlocked = true;
      this.#holdBack();
    } else this.#goOn();
  }

  #goOn(): void {
    if (this.#bytes > 0) this.#read();
    if (this.#isPaused && !(this.#isBusy && this.#bytes > waitingBytesMax)) {
      this.#isPaused = false;
      this.#socket.resume();
    }
  }

  #end(text?: string): void {
    this.#sinceMs = undefined;
    this.#chunks = [];
    this.#bytes = 0;
    if (text === undefined) this.#socket.end();
    else this.#socket.end(text);
  }

  /** P2. */
  #leave(): void {
    const socket = this.#socket;
    // It cannot be put back after the end, and node:http does not answer who has closed either.
    if (this.#hasEnded) {
      this.#end();
      return;
    }
    const unread = this.#joined();
    socket.pause();
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("error", this.#onError);
    socket.off("close", this.#onClose);
    socket.off("drain", this.#onDrain);
    this.#options.onLeft();
    if (unread.length > 0) socket.unshift(unread);
    this.#options.handOver(socket);
    socket.resume();
  }
}

let lastDate = { second: Number.NaN, text: "" };

/** The Date field of this second (RFC 9110 §6.6.1). */
function dateOf(clock: Clock): string {
  const second = Math.floor(clock.now() / 1000);
  if (second !== lastDate.second) lastDate = { second, text: new Date(second * 1000).toUTCString() };
  return lastDate.text;
}
