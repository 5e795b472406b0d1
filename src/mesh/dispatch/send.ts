/**
 * HOW events leave: one HTTP POST, answered as a value: by our own HTTP/1.1 client, or over TLS by undici.
 * Redirects are never followed, nothing an event says is fetched, nothing is sent twice. The deadline covers
 * everything: waiting for a connection, connecting, headers and body.
 */
import type { Clock, Timer } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { ResponseHeaders } from "../event/http.ts";
import { Http1Client } from "../http1/client.ts";
import type { Answer, Exchange } from "../http1/exchange.ts";
import { Line, type Linked } from "../http1/line.ts";
import type { Closeable } from "../lifecycle.ts";
import { type HttpsAnswer, HttpsClient } from "./https.ts";

export interface SendRequest {
  /** `http:` or `https:`. */
  readonly url: URL;
  /** Flat name, value, name, value; bytes in strings (latin-1). */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
  readonly timeoutMs: number;
  /** Aborting ends the attempt with `aborted`. Long-lived: shared by the attempts of one worker. */
  readonly signal: AbortSignal;
}

export type SendResult =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly headers: ResponseHeaders;
      readonly body: Uint8Array;
      /** The answer was longer than `answerBytesMax`; the rest was dropped. */
      readonly truncated: boolean;
      readonly ms: number;
    }
  | { readonly kind: "failed"; readonly error: string; readonly message: string; readonly ms: number }
  /** We stopped it (shutdown): not an attempt. */
  | { readonly kind: "aborted"; readonly ms: number };

/** Nothing was sent, for want of room on our side: not an attempt either. */
export interface Unsent {
  readonly kind: "unavailable";
  readonly message: string;
}

export interface SenderOptions {
  readonly clock: Clock;
  readonly answerBytesMax: number;
  /** Over plain HTTP; 1024 when not given. */
  readonly connectionsPerOriginMax?: number;
}

export class Sender implements Closeable {
  readonly #clock: Clock;
  readonly #http: Http1Client;
  readonly #https: HttpsClient;
  /** By signal, so that each is listened to once and not by every attempt. */
  readonly #running = new WeakMap<AbortSignal, Line<Attempt>>();

  constructor(options: SenderOptions) {
    this.#clock = options.clock;
    this.#http = new Http1Client(options);
    this.#https = new HttpsClient(options);
  }

  send(request: SendRequest): Promise<SendResult | Unsent> {
    return new Promise((resolve) => {
      if (request.signal.aborted) {
        resolve({ kind: "aborted", ms: 0 });
        return;
      }
      const attempt = new Attempt(this.#clock, this.#runningUnder(request.signal), resolve);
      attempt.start(request.url.protocol === "https:" ? this.#https : this.#http, request);
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#http.close(), this.#https.close()]);
  }

  #runningUnder(signal: AbortSignal): Line<Attempt> {
    const known = this.#running.get(signal);
    if (known !== undefined) return known;
    const attempts = new Line<Attempt>();
    this.#running.set(signal, attempts);
    const abortAll = () => {
      while (attempts.first !== undefined) attempts.first.abort();
    };
    signal.addEventListener("abort", abortAll, { once: true });
    return attempts;
  }
}

/** Over once: an exchange tells once how it ended, and nothing after it was cancelled. */
class Attempt implements Linked<Attempt> {
  previous: Attempt | undefined;
  next: Attempt | undefined;
  readonly #clock: Clock;
  readonly #startedMs: number;
  /** Where it stands while it runs. */
  readonly #running: Line<Attempt>;
  readonly #resolve: (result: SendResult | Unsent) => void;
  #deadline: Timer | undefined;
  #exchange: Exchange | undefined;

  constructor(clock: Clock, running: Line<Attempt>, resolve: (result: SendResult | Unsent) => void) {
    this.#clock = clock;
    this.#startedMs = clock.monotonic();
    this.#running = running;
    this.#resolve = resolve;
  }

  start(client: Http1Client | HttpsClient, request: SendRequest): void {
    this.#running.push(this);
    const { timeoutMs } = request;
    this.#deadline = this.#clock.after(timeoutMs, () => {
      const wasInLine = this.#exchange?.hasConnection === false;
      this.#exchange?.cancel();
      const message = `no ${wasInLine ? "connection was free" : "answer"} within ${timeoutMs} ms`;
      if (wasInLine) this.#settle({ kind: "unavailable", message });
      else this.#settle({ kind: "failed", error: "Timeout", message, ms: this.#ms() });
    });
    this.#exchange = client.start(request, this);
  }

  /** Leaves the line of those that run. */
  abort(): void {
    this.#exchange?.cancel();
    this.#settle({ kind: "aborted", ms: this.#ms() });
  }

  onAnswer({ status, headers, body, truncated }: Answer | HttpsAnswer): void {
    this.#settle({ kind: "answered", status, headers, body, truncated, ms: this.#ms() });
  }

  onFailure(error: Error): void {
    const code = "code" in error ? String(error.code) : "";
    const message = messageOf(error);
    if (code === "LINE_FULL") this.#settle({ kind: "unavailable", message });
    else if (closedCodes.has(code)) this.#settle({ kind: "aborted", ms: this.#ms() });
    else
      this.#settle({
        kind: "failed",
        error: errorNames[code] ?? "ConnectionFailed",
        message,
        ms: this.#ms(),
      });
  }

  #settle(result: SendResult | Unsent): void {
    this.#running.remove(this);
    this.#deadline?.cancel();
    this.#resolve(result);
  }

  #ms(): number {
    return Math.round((this.#clock.monotonic() - this.#startedMs) * 10) / 10;
  }
}

const errorNames: Readonly<Record<string, string | undefined>> = {
  ECONNREFUSED: "ConnectionRefused",
  ECONNRESET: "ConnectionReset",
  EPIPE: "ConnectionReset",
  CONNECTION_LOST: "ConnectionReset",
  UND_ERR_SOCKET: "ConnectionReset",
  ENOTFOUND: "HostNotFound",
  EAI_AGAIN: "HostNotFound",
  ETIMEDOUT: "ConnectTimeout",
  CONNECT_TIMEOUT: "ConnectTimeout",
  UND_ERR_CONNECT_TIMEOUT: "ConnectTimeout",
};

/** What a client says of what was under way when it was closed. */
const closedCodes: ReadonlySet<string> = new Set(["CLIENT_CLOSED", "UND_ERR_DESTROYED", "UND_ERR_CLOSED"]);
