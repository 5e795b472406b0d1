/**
 * HTTP/1.1 as a client speaks it, only as much as deliveries need: POST, whole bodies both ways, no TLS, no
 * redirects, no resending. A library's per-request cost (a parser in another language, events, streams) is most
 * of what a delivery costs beside the system's own write.
 *
 *     client ──► origin (host:port) ──► connection ──► answer-reader
 *
 * Deadlines and aborts are the user's: see Exchange.cancel.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../clock.ts";
import type { Closeable } from "../lifecycle.ts";
import { makeWriteBuffer, type Peer } from "./connection.ts";
import { type AnswerListener, type Exchange, ExchangeError, type Post } from "./exchange.ts";
import { Origin, type OriginParts } from "./origin.ts";
import { PendingPost } from "./pending-post.ts";
import { encodePostHead, findInvalidHeader } from "./request-head.ts";

export interface ClientOptions {
  readonly clock: Clock;
  /** Longer bodies are cut there, and the rest is not read. */
  readonly answerBytesMax: number;
  readonly connectionsPerOriginMax?: number;
}

const connectionsPerOriginMaxDefault = 1024;
const readBytesMax = 64 * 1024;
const empty = new Uint8Array(0);

export class Http1Client implements Closeable {
  readonly #parts: Omit<OriginParts, "onEmpty">;
  readonly #origins = new Map<string, Origin>();
  #isClosed = false;

  constructor({ clock, answerBytesMax, connectionsPerOriginMax }: ClientOptions) {
    this.#parts = {
      clock,
      answerBytesMax,
      connectionsMax: connectionsPerOriginMax ?? connectionsPerOriginMaxDefault,
      readBuffer: Buffer.allocUnsafeSlow(readBytesMax),
      writeBuffer: makeWriteBuffer(),
    };
  }

  start({ url, headers, body = empty }: Post, listener: AnswerListener): Exchange {
    const head = encodePostHead(url, headers, body.length);
    const post = new PendingPost({ head: head ?? "", body }, listener);
    if (this.#isClosed) post.fail(clientClosed());
    else if (head === undefined) {
      const message = `the header ${findInvalidHeader(headers)} cannot be sent`;
      post.fail(new ExchangeError("HEADER_INVALID", message));
    } else {
      this.#origin(url).start(post);
    }
    return post;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#origins.values()].map((origin) => origin.close(clientClosed())));
  }

  #origin(url: URL): Origin {
    const key = url.host;
    const known = this.#origins.get(key);
    if (known !== undefined) return known;
    const origin = new Origin(peerOf(url), { ...this.#parts, onEmpty: () => this.#origins.delete(key) });
    this.#origins.set(key, origin);
    return origin;
  }
}

function peerOf({ hostname, port }: URL): Peer {
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 80 : Number(port) };
}

function clientClosed(): ExchangeError {
  return new ExchangeError("CLIENT_CLOSED", "the client was closed");
}
