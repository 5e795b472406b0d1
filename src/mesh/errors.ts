/**
 * The one catalogue of refusals. A refused request is a MeshError with a code from here; only the edges
 * (HTTP, CLI, Kubernetes Status) turn it into a status or an exit code. The README's error table equals
 * this list (test/readme.test.ts).
 */
export const errors = {
  EVENT_INVALID: { status: 400, text: "The event breaks the CloudEvents rules" },
  EVENT_LOOP: { status: 400, text: "The event has no hops left" },
  PATH_INVALID: { status: 400, text: "The path is not /<namespace>/<broker>" },
  REQUEST_INVALID: { status: 400, text: "The request is malformed" },
  BROKER_NOT_FOUND: { status: 404, text: "No such broker" },
  NO_RESPONDER: { status: 404, text: "No trigger wants the event, so nobody can answer it" },
  NOT_FOUND: { status: 404, text: "No such thing" },
  METHOD_NOT_ALLOWED: { status: 405, text: "The method is not allowed here" },
  CONFLICT: { status: 409, text: "The object was changed by someone else" },
  ALREADY_EXISTS: { status: 409, text: "The name is taken" },
  REQUEST_CONFLICT: {
    status: 409,
    text: "The event is stored already, by a sender who did not wait for its reply",
  },
  HISTORY_EXPIRED: { status: 410, text: "The resourceVersion is older than the kept history" },
  EVENT_TOO_LARGE: { status: 413, text: "The event is larger than the mesh accepts" },
  FORMAT_UNSUPPORTED: { status: 415, text: "The event format is not supported" },
  OBJECT_INVALID: { status: 422, text: "The object breaks the rules of its kind" },
  HEADERS_TOO_LARGE: { status: 431, text: "The attributes are larger than the mesh accepts" },
  REPLY_DEAD: { status: 502, text: "The event could not be delivered, so nobody answers it" },
  OVERLOADED: { status: 503, text: "The mesh cannot take more right now" },
  STREAM_FULL: { status: 503, text: "The broker's storage is full of events that are still needed" },
  STORAGE_UNAVAILABLE: { status: 503, text: "The event could not be stored right now" },
  STORE_UNAVAILABLE: { status: 503, text: "The resources cannot be reached right now" },
  FUNCTION_UNAVAILABLE: { status: 503, text: "The function cannot be started right now" },
  REPLY_TIMEOUT: { status: 504, text: "No reply came in time; the event is stored and stays in the mesh" },
  NATS_NOT_FOUND: { status: 500, text: "No usable NATS server was found" },
  NATS_TOO_OLD: { status: 500, text: "The NATS server is too old" },
  NATS_UNREACHABLE: { status: 503, text: "The NATS server cannot be used" },
  NATS_JETSTREAM_OFF: { status: 500, text: "The NATS server runs without JetStream" },
  NATS_START_FAILED: { status: 500, text: "The NATS server did not start" },
  DATA_DIR_LOCKED: { status: 500, text: "Another weft uses this data directory" },
  PORT_TAKEN: { status: 500, text: "The port is in use" },
  CONFIG_INVALID: { status: 400, text: "The configuration is not valid" },
  SERVER_UNREACHABLE: { status: 503, text: "No running mesh answers" },
} as const;

export type ErrorCode = keyof typeof errors;

/** What makes an error actionable; every field is shown to the user. */
export interface ErrorDetail {
  /** What the rule wants. */
  readonly expected?: string;
  /** What was there instead (at most the beginning of it; never a secret). */
  readonly found?: string;
  /** What to do about it. */
  readonly fix?: string;
  /** The attribute, field or flag at fault. */
  readonly field?: string;
  readonly cause?: unknown;
}

/** A refusal: not a bug, carries a catalogue code. `message` is complete on its own. */
export class MeshError extends Error {
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;

  constructor(code: ErrorCode, detail: ErrorDetail = {}) {
    super(describe(code, detail), detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "MeshError";
    this.code = code;
    this.detail = detail;
  }

  get status(): number {
    return errors[this.code].status;
  }

  /** The machine-readable body of a refusal (RFC 9457 problem details plus our fields). */
  toProblem(): Record<string, unknown> {
    const { field, expected, found, fix } = this.detail;
    return {
      type: `https://weft.dev/errors/${this.code}`,
      title: errors[this.code].text,
      status: this.status,
      detail: this.message,
      code: this.code,
      ...(field === undefined ? {} : { field }),
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
      ...(fix === undefined ? {} : { fix }),
    };
  }
}

function describe(code: ErrorCode, { field, expected, found, fix }: ErrorDetail): string {
  let text: string = errors[code].text;
  if (field !== undefined) text += `: ${field}`;
  if (expected !== undefined) text += `: expected ${expected}`;
  if (found !== undefined) text += `${expected === undefined ? ":" : ","} found ${found}`;
  if (fix !== undefined) text += `. ${fix}`;
  return text;
}

/** A broken assumption of ours: crashes the task that hit it. Nobody catches it further down. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug: ${message}`);
}

/** The text of whatever was thrown, for logs and failure records. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
