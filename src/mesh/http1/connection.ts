/**
 * One connection to an origin: carries one post at a time, as bytes.
 *
 * C1  a post is told its outcome once, after the connection has been handed back or closed.
 * C2  a connection is handed back only when the peer will read what follows as the next request: the answer
 *     ended with the bytes that came, and the whole request is with the system.
 * C3  whatever comes while nothing is asked closes it.
 */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import type { Clock, Timer } from "../clock.ts";
import { AnswerReader, type Reading } from "./answer-reader.ts";
import { ExchangeError } from "./exchange.ts";
import type { Carrier, PendingPost, PostBytes } from "./pending-post.ts";

export interface Peer {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface ConnectionOwner {
  /** It can carry the next post, within `idleMs` by what the peer says. */
  onIdle(connection: Connection, idleMs: number): void;
  /** It is closed. */
  onGone(connection: Connection): void;
}

/** What the connections of a client share. */
export interface ConnectionParts {
  readonly clock: Clock;
  readonly answerBytesMax: number;
  /** Where the system puts what arrives, for all connections: each reads it, and copies, before the next may. */
  readonly readBuffer: Buffer;
  readonly writeBuffer: WriteBuffer;
}

/** Where a request is put together; replaced when the system did not take all of it at once and keeps it. */
export interface WriteBuffer {
  bytes: Buffer;
}

const connectTimeoutMs = 10_000;
/** Finds peers that vanished while an answer is awaited for minutes. */
const probeAfterMs = 60_000;
/** Up to this many bytes, copying a body behind its head is cheaper than writing two buffers. */
const copiedBytesMax = 24 * 1024;

export function makeWriteBuffer(): WriteBuffer {
  return { bytes: Buffer.allocUnsafeSlow(copiedBytesMax) };
}

export class Connection implements Carrier {
  /** When the owner no longer wants to use it; the owner's alone. */
  idleUntilMs = 0;
  readonly #socket: Socket;
  readonly #reader: AnswerReader;
  readonly #owner: ConnectionOwner;
  readonly #writeBuffer: WriteBuffer;
  #connecting: Timer | undefined;
  #post: PendingPost | undefined;
  #isGone = false;

  constructor(peer: Peer, parts: ConnectionParts, owner: ConnectionOwner) {
    const { clock, answerBytesMax, readBuffer, writeBuffer } = parts;
    this.#owner = owner;
    this.#writeBuffer = writeBuffer;
    this.#reader = new AnswerReader({ bodyBytesMax: answerBytesMax });
    this.#socket = connect({
      ...peer,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: probeAfterMs,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#onBytes(readBuffer.subarray(0, length));
          return true;
        },
      },
    });
    this.#socket.on("connect", () => this.#onConnect());
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("error", (error) => this.#fail(toldByEach(error)));
    this.#socket.on("close", () => this.#onEnd());
    this.#connecting = clock.after(connectTimeoutMs, () => {
      const message = `no connection to ${peer.host}:${peer.port} within ${connectTimeoutMs} ms`;
      this.#fail(new ExchangeError("CONNECT_TIMEOUT", message));
    });
  }

  /** Only for one that carries nothing. Sends it at once, or as soon as it is connected. */
  carry(post: PendingPost): void {
    post.carrier = this;
    post.hasConnection = true;
    this.#post = post;
    if (this.#connecting === undefined) this.#write(post.bytes);
  }

  /** The post is not waited for any more, and its answer would be in the way of the next one. */
  release(): void {
    this.#leave();
  }

  /** Resolves when the system has closed it; what it carries fails with `error`. */
  close(error: Error): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#socket.once("close", () => resolve());
    });
    this.#fail(error);
    return closed;
  }

  #onConnect(): void {
    this.#connecting?.cancel();
    this.#connecting = undefined;
    if (this.#post !== undefined) this.#write(this.#post.bytes);
  }

  #write({ head, body }: PostBytes): void {
    const length = head.length + body.length;
    if (length > copiedBytesMax) {
      this.#socket.cork();
      this.#socket.write(head, "latin1");
      this.#socket.write(body);
      this.#socket.uncork();
      return;
    }
    const { bytes } = this.#writeBuffer;
    bytes.write(head, 0, "latin1");
    bytes.set(body, head.length);
    this.#socket.write(bytes.subarray(0, length));
    if (this.#socket.writableLength > 0) this.#writeBuffer.bytes = makeWriteBuffer().bytes;
  }

  #onBytes(bytes: Buffer): void {
    if (this.#post === undefined) this.#leave();
    else this.#onReading(this.#post, this.#reader.read(bytes));
  }

  #onReading(post: PendingPost, reading: Reading): void {
    switch (reading.kind) {
      case "more":
        return;
      case "malformed":
        this.#fail(
          new ExchangeError("ANSWER_MALFORMED", `expected an answer in HTTP/1.1, found ${reading.found}`),
        );
        return;
      case "answer": {
        this.#post = undefined;
        const isSent = this.#socket.writableLength === 0;
        if (isSent && reading.idleMs > 0) this.#owner.onIdle(this, reading.idleMs);
        else this.#leave();
        post.answer(reading.answer);
      }
    }
  }

  #onEnd(): void {
    const answer = this.#post === undefined ? undefined : this.#reader.end();
    const post = this.#leave();
    if (answer !== undefined) post?.answer(answer);
    else post?.fail(lost(this.#reader.hasBegun ? "in the middle of the answer" : "before an answer began"));
  }

  #fail(error: Error): void {
    this.#leave()?.fail(error);
  }

  /** Closes it; hands out what it carried, who is yet to be told. Idempotent. */
  #leave(): PendingPost | undefined {
    const post = this.#post;
    this.#post = undefined;
    if (this.#isGone) return undefined;
    this.#isGone = true;
    this.#connecting?.cancel();
    this.#socket.destroy();
    this.#owner.onGone(this);
    return post;
  }
}

function lost(when: string): ExchangeError {
  return new ExchangeError("CONNECTION_LOST", `the connection was closed ${when}`);
}

/** Where several addresses were tried, Node tells only the first one's code and no text at all. */
function toldByEach(error: Error): Error {
  if (!(error instanceof AggregateError)) return error;
  error.message = error.errors.map(({ message }: Error) => message).join(", ");
  return error;
}
