/** One POST and its answer, as the client's user sees them: what is said, who is told, how it can fail. */

export interface Post {
  /** `http:`; user and password in it are ignored. */
  readonly url: URL;
  /** Flat name, value, …; bytes in strings (latin-1). `host` and `content-length` are added. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
}

export interface Answer {
  readonly status: number;
  /** Flat name, value, … as they came, bytes in strings (latin-1). */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** The body was longer than may be; the rest was dropped. */
  readonly truncated: boolean;
}

/** Told once how the exchange ended, maybe before it is handed out; never after it was cancelled. */
export interface AnswerListener {
  onAnswer(answer: Answer): void;
  /** An ExchangeError, or what the system said (`code` as Node has it: `ECONNREFUSED`, …). */
  onFailure(error: Error): void;
}

export interface Exchange {
  /** Whether it has a connection, open or about to be; before, it waits in line and nothing was sent. */
  readonly hasConnection: boolean;
  /** Stops it wherever it is; its connection is closed. Idempotent. */
  cancel(): void;
}

export type ExchangeFault =
  /** The peer closed the connection before the answer was complete. */
  | "CONNECTION_LOST"
  | "CONNECT_TIMEOUT"
  /** What came is no answer in HTTP/1.1. */
  | "ANSWER_MALFORMED"
  /** The request cannot be said in HTTP/1.1; nothing was sent. */
  | "HEADER_INVALID"
  /** Too many wait for a connection to this origin; nothing was sent. */
  | "LINE_FULL"
  /** The client was closed meanwhile. */
  | "CLIENT_CLOSED";

export class ExchangeError extends Error {
  readonly code: ExchangeFault;

  constructor(code: ExchangeFault, message: string) {
    super(message);
    this.name = "ExchangeError";
    this.code = code;
  }
}
