/**
 * What a function author imports: `import { defineFunction, Reject } from "weft"`. Public and stable.
 * It is bundled into every function, so it imports nothing and stays small; the classes are recognised by
 * a brand, never by `instanceof`, because the runner's copy is not the bundle's copy.
 */

/** An event as a handler sees it. Same shape as `CloudEventV1` of the `cloudevents` package. */
export interface CloudEvent<T = unknown> {
  readonly specversion: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject?: string;
  /** RFC 3339. */
  readonly time?: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  /** Parsed when it is JSON, a string when it is text, bytes otherwise; undefined when there is none. */
  readonly data: T;
  /** Set by the `cloudevents` package beside binary data; read only when `data` is absent. */
  readonly data_base64?: string;
  /** Extension attributes, as their canonical strings. */
  readonly [extension: string]: unknown;
}

/** Attributes an author may set; the mesh fills in the rest (id, source, type, subject, trace, correlation). */
export interface EventAttributes {
  readonly specversion?: string;
  readonly id?: string;
  readonly source?: string;
  readonly type?: string;
  readonly subject?: string;
  readonly time?: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  readonly [extension: string]: unknown;
}

/** An event to emit: only `type` is needed. */
export interface CloudEventInput<T = unknown> extends EventAttributes {
  readonly type: string;
  readonly data?: T;
}

/** One JSON line per call on stdout, with the event, trigger and attempt already in it. */
export interface Logger {
  debug(text: string, fields?: Record<string, unknown>): void;
  info(text: string, fields?: Record<string, unknown>): void;
  warn(text: string, fields?: Record<string, unknown>): void;
  error(text: string, fields?: Record<string, unknown>): void;
}

export interface RequestOptions {
  readonly broker?: string;
  readonly timeoutMs?: number;
  readonly replyType?: string;
}

/** No reply came: why, in the words of the catalogue (`NO_RESPONDER`, `REPLY_DEAD`, `REPLY_TIMEOUT`, …). */
export interface RequestError extends Error {
  readonly code: string;
  readonly status: number;
  /** After a timeout: the path on the events port where the reply can be fetched later. */
  readonly reply?: string;
}

export interface Ctx {
  readonly log: Logger;
  /** Aborts at the deadline, when the caller goes away, and on a forced stop. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds; what runs longer is answered 504. */
  readonly deadline: number;
  /** 1-based count of deliveries of this event; 1 for plain HTTP. */
  readonly attempt: number;
  readonly trigger?: { readonly namespace: string; readonly name: string; readonly broker: string };
  readonly service: {
    readonly namespace: string;
    readonly name: string;
    readonly revision: string;
    readonly instance: string;
  };
  /** The raw request headers. */
  readonly headers: Headers;
  /** Sends an extra event to the broker this one came from; resolves once it is stored, rejects otherwise. */
  emit(event: CloudEventInput, options?: { readonly broker?: string }): Promise<void>;
  /**
   * Sends an event to a broker and resolves to the reply that the mesh brings back, within `timeoutMs` (30 s) and
   * this call's own deadline. With `replyType` the reply is the first event of that type in the flow. Rejects with
   * a RequestError when none came.
   */
  request<T = unknown>(event: CloudEventInput, options?: RequestOptions): Promise<CloudEvent<T>>;
  /** Builds the reply event with everything filled in; return it from the handler. */
  reply<T>(data: T, attributes?: EventAttributes): CloudEvent<T>;
  /** Keeps the instance alive after the answer until the promise settles (at most the service's timeout). */
  waitUntil(work: Promise<unknown>): void;
}

// biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing is the common case
export type Result<O = unknown> = CloudEvent<O> | Response | O | void;

export type Handler<I = unknown, O = unknown> = (
  event: CloudEvent<I>,
  ctx: Ctx,
) => Result<O> | Promise<Result<O>>;

/** A Workers-style HTTP function; `env` is the service's environment. */
export type FetchHandler = (
  request: Request,
  env: Readonly<Record<string, string>>,
  ctx: Ctx,
) => Response | Promise<Response>;

/** Anything with `parse` that throws on invalid data, for instance a zod schema. */
export interface Schema<T> {
  parse(data: unknown): T;
}

export interface Lifecycle {
  /** Runs once before the first request; a throw fails the start of this instance. */
  init?(): void | Promise<void>;
  /** Runs once after the last request. */
  shutdown?(): void | Promise<void>;
  /** `GET /health/readiness` and `/health/liveness`: false (or a throw) answers 503. */
  ready?(): boolean | Promise<boolean>;
  alive?(): boolean | Promise<boolean>;
}

export interface FunctionDefinition<I = unknown, O = unknown> extends Lifecycle {
  /** Checks and types `event.data`; data that fails is rejected (no retry). */
  readonly input?: Schema<I>;
  /** The type of the event a plain return value becomes; default `<incoming type>.reply`. */
  readonly reply?: string;
  readonly handle: Handler<I, O>;
}

/** Types a function from its schema; the result is the default export. */
export function defineFunction<I = unknown, O = unknown>(
  definition: FunctionDefinition<I, O>,
): FunctionDefinition<I, O> {
  return definition;
}

const brand = Symbol.for("weft.sdk.error");

/** Thrown by a handler: this event can never succeed. No retry; it becomes a dead letter (422). */
export class Reject extends Error {
  readonly [brand] = "reject";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Reject";
  }
}

/** The same as Reject, for those who think of it by its effect. */
export const NonRetryable = Reject;

/** Thrown by a handler: not now, try again after so many seconds (503 with Retry-After). */
export class RetryAfter extends Error {
  readonly [brand] = "retry-after";
  readonly seconds: number;

  constructor(seconds: number, message = `retry after ${seconds} s`, options?: ErrorOptions) {
    super(message, options);
    this.name = "RetryAfter";
    this.seconds = Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : 0;
  }
}
