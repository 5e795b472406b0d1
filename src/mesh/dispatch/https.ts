/**
 * POST over TLS, by undici: handshakes, certificates and sessions are for a library that is looked after. The
 * same manners as Http1Client, whose exchanges it makes.
 */
import type { IncomingHttpHeaders } from "node:http";
import { Agent, type Dispatcher } from "undici";
import type { Exchange, Post } from "../http1/exchange.ts";
import type { Closeable } from "../lifecycle.ts";

export interface HttpsAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
  readonly truncated: boolean;
}

export interface HttpsListener {
  onAnswer(answer: HttpsAnswer): void;
  /** What undici or the system said, with its `code`. */
  onFailure(error: Error): void;
}

const connectionsPerOriginMax = 1024;
const connectTimeoutMs = 10_000;
const keepAliveMs = 30_000;
const empty = new Uint8Array(0);

export class HttpsClient implements Closeable {
  readonly #agent: Agent;
  readonly #answerBytesMax: number;

  constructor({ answerBytesMax }: { answerBytesMax: number }) {
    this.#answerBytesMax = answerBytesMax;
    this.#agent = new Agent({
      connections: connectionsPerOriginMax,
      pipelining: 1,
      connect: { timeout: connectTimeoutMs },
      keepAliveTimeout: keepAliveMs,
      // The attempt's own deadline rules, not undici's.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  start(post: Post, listener: HttpsListener): Exchange {
    const exchange = new HttpsExchange(this.#answerBytesMax, listener);
    exchange.start(this.#agent, post);
    return exchange;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

class HttpsExchange implements Exchange {
  /** undici does not tell who waits in line from who waits for a peer that cannot be reached. */
  readonly hasConnection = true;
  readonly #answerBytesMax: number;
  readonly #listener: HttpsListener;
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #chunks: Buffer[] = [];
  #length = 0;
  #isOver = false;

  constructor(answerBytesMax: number, listener: HttpsListener) {
    this.#answerBytesMax = answerBytesMax;
    this.#listener = listener;
  }

  start(agent: Agent, { url, headers, body = empty }: Post): void {
    try {
      agent.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: "POST",
          headers: headers as string[],
          body,
        },
        {
          onRequestStart: (controller) => {
            this.#controller = controller;
            if (this.#isOver) this.#stop();
          },
          onResponseStart: (_controller, status, responseHeaders) => {
            this.#status = status;
            this.#headers = responseHeaders;
          },
          onResponseData: (_controller, chunk) => this.#onData(chunk),
          onResponseEnd: () => this.#answer(false),
          onResponseError: (_controller, error) => this.#fail(error),
        },
      );
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  cancel(): void {
    this.#isOver = true;
    this.#stop();
  }

  #onData(chunk: Buffer): void {
    const room = this.#answerBytesMax - this.#length;
    if (chunk.length <= room) {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      return;
    }
    if (room > 0) this.#chunks.push(chunk.subarray(0, room));
    this.#answer(true);
    this.#stop();
  }

  #answer(truncated: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const body = this.#chunks.length === 0 ? empty : Buffer.concat(this.#chunks);
    this.#listener.onAnswer({ status: this.#status, headers: this.#headers, body, truncated });
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener.onFailure(error);
  }

  #stop(): void {
    this.#controller?.abort(new Error("the attempt is over"));
  }
}
