/**
 * HOW events leave: one HTTP POST by undici's `dispatch`, answered as a value. Redirects are never followed,
 * nothing an event says is fetched, the deadline covers headers and body.
 */
import type { IncomingHttpHeaders } from "node:http";
import { Agent, type Dispatcher } from "undici";
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";

export interface SendRequest {
  readonly url: URL;
  /** Flat name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
  readonly timeoutMs: number;
  /** Aborting ends the attempt with `aborted`. */
  readonly signal: AbortSignal;
}

export type SendResult =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly headers: IncomingHttpHeaders;
      readonly body: Uint8Array;
      /** The answer was longer than `answerBytesMax`; the rest was dropped. */
      readonly truncated: boolean;
      readonly ms: number;
    }
  | { readonly kind: "failed"; readonly error: string; readonly message: string; readonly ms: number }
  /** We stopped it (shutdown): not an attempt. */
  | { readonly kind: "aborted"; readonly ms: number };

const connectionsPerOriginMax = 1024;
const connectTimeoutMs = 10_000;
const keepAliveMs = 30_000;
const empty = new Uint8Array(0);

export class Sender implements Closeable {
  readonly #agent: Agent;
  readonly #clock: Clock;
  readonly #answerBytesMax: number;

  constructor({ clock, answerBytesMax }: { clock: Clock; answerBytesMax: number }) {
    this.#clock = clock;
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

  send(request: SendRequest): Promise<SendResult> {
    return new Promise((resolve) => {
      const attempt = new Attempt(this.#clock, this.#answerBytesMax, resolve);
      attempt.start(this.#agent, request);
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

class Attempt {
  readonly #clock: Clock;
  readonly #answerBytesMax: number;
  readonly #resolve: (result: SendResult) => void;
  readonly #startedMs: number;
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #chunks: Buffer[] = [];
  #length = 0;
  #truncated = false;
  #settled = false;
  #cleanup = () => {};

  constructor(clock: Clock, answerBytesMax: number, resolve: (result: SendResult) => void) {
    this.#clock = clock;
    this.#answerBytesMax = answerBytesMax;
    this.#resolve = resolve;
    this.#startedMs = clock.monotonic();
  }

  start(agent: Agent, { url, headers, body, timeoutMs, signal }: SendRequest): void {
    if (signal.aborted) {
      this.#settle({ kind: "aborted", ms: 0 });
      return;
    }
    const deadline = this.#clock.after(timeoutMs, () =>
      this.#stop({
        kind: "failed",
        error: "Timeout",
        message: `no answer within ${timeoutMs} ms`,
        ms: this.#ms(),
      }),
    );
    const onAbort = () => this.#stop({ kind: "aborted", ms: this.#ms() });
    signal.addEventListener("abort", onAbort, { once: true });
    this.#cleanup = () => {
      deadline.cancel();
      signal.removeEventListener("abort", onAbort);
    };
    try {
      agent.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: "POST",
          headers: headers as string[],
          body: body ?? empty,
        },
        {
          onRequestStart: (controller) => {
            this.#controller = controller;
            if (this.#settled) controller.abort(new Error("the attempt is over"));
          },
          onResponseStart: (_controller, status, responseHeaders) => {
            this.#status = status;
            this.#headers = responseHeaders;
          },
          onResponseData: (_controller, chunk) => this.#onData(chunk),
          onResponseEnd: () => this.#settle(this.#answer()),
          onResponseError: (_controller, error) => this.#settle(this.#failure(error)),
        },
      );
    } catch (error) {
      this.#settle(this.#failure(error));
    }
  }

  #onData(chunk: Buffer): void {
    const room = this.#answerBytesMax - this.#length;
    if (chunk.length > room) {
      this.#truncated = true;
      if (room > 0) this.#chunks.push(chunk.subarray(0, room));
      this.#length = this.#answerBytesMax;
      this.#stop(this.#answer());
      return;
    }
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  #answer(): SendResult {
    return {
      kind: "answered",
      status: this.#status,
      headers: this.#headers,
      body: this.#chunks.length === 0 ? empty : Buffer.concat(this.#chunks),
      truncated: this.#truncated,
      ms: this.#ms(),
    };
  }

  #failure(error: unknown): SendResult {
    return { kind: "failed", error: errorCode(error), message: messageOf(error), ms: this.#ms() };
  }

  #stop(result: SendResult): void {
    this.#settle(result);
    this.#controller?.abort(new Error("the attempt is over"));
  }

  #settle(result: SendResult): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#cleanup();
    this.#resolve(result);
  }

  #ms(): number {
    return Math.round((this.#clock.monotonic() - this.#startedMs) * 10) / 10;
  }
}

const errorNames: Readonly<Record<string, string>> = {
  ECONNREFUSED: "ConnectionRefused",
  ECONNRESET: "ConnectionReset",
  EPIPE: "ConnectionReset",
  UND_ERR_SOCKET: "ConnectionReset",
  ENOTFOUND: "HostNotFound",
  EAI_AGAIN: "HostNotFound",
  ETIMEDOUT: "ConnectTimeout",
  UND_ERR_CONNECT_TIMEOUT: "ConnectTimeout",
};

function errorCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return errorNames[code] ?? "ConnectionFailed";
}
