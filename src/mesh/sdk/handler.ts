/**
 * WHAT a function module exports, and WHAT an outcome of its handler becomes on the wire (pure).
 *
 * H1  A CloudEvent request is never answered with a 2xx whose body is no CloudEvent: a broker would take
 *     that for a failed delivery. Plain data is wrapped into a reply event, nothing is 200 and empty.
 * H2  The status says whether a retry makes sense: 422/400 never, 500/503/504 yes.
 * H3  No stack leaves the process; an error body is at most errorBytesMax.
 */
import { DataUnparsable, encodeData } from "./author-event.ts";
import { type KnativeHandle, knativeHandler } from "./knative.ts";
import type { CloudEvent, CloudEventInput, FetchHandler, Handler, Schema } from "./sdk.ts";

/** Knative keeps 1024 base64 characters of an error body: 768 bytes, some room left. */
const errorBytesMax = 700;

export interface FunctionExports {
  readonly run:
    | { readonly kind: "event"; readonly handle: Handler }
    | { readonly kind: "fetch"; readonly fetch: FetchHandler };
  readonly input: Schema<unknown> | undefined;
  readonly reply: string | undefined;
  readonly init: (() => unknown) | undefined;
  readonly shutdown: (() => unknown) | undefined;
  readonly ready: (() => unknown) | undefined;
  readonly alive: (() => unknown) | undefined;
}

/** The name under which the bundler wraps an unmodified `func create` project. */
export const knativeProject = "knativeProject";

/**
 * First match wins: default function; default object with `handle` or `fetch`; named `handle`.
 * Lifecycle functions stand beside the handler (faas-js names `readiness`, `liveness` included).
 * Throws TypeError, listing what was exported, when nothing fits.
 */
export function resolveExports(module: Record<string, unknown>): FunctionExports {
  const project = module[knativeProject];
  if (!isRecord(project)) return findExports(module);
  const found = findExports(project);
  const handle = found.run.kind === "event" ? (found.run.handle as unknown as KnativeHandle) : undefined;
  return handle === undefined ? found : { ...found, run: { kind: "event", handle: knativeHandler(handle) } };
}

function findExports(module: Record<string, unknown>): FunctionExports {
  const main = module.default;
  if (typeof main === "function") return build(module, { kind: "event", handle: main as Handler });
  const all = isRecord(main) ? { ...module, ...main } : module;
  if (typeof all.handle === "function") return build(all, { kind: "event", handle: all.handle as Handler });
  if (isRecord(main) && typeof main.fetch === "function") {
    return build(all, { kind: "fetch", fetch: main.fetch as FetchHandler });
  }
  throw new TypeError(
    "Expected a default export (event, ctx) => …, an object with handle or fetch, or an export named handle; " +
      `found ${Object.keys(module).join(", ") || "no exports"}`,
  );
}

function build(from: Record<string, unknown>, run: FunctionExports["run"]): FunctionExports {
  const firstFunction = (...names: string[]) =>
    names.map((name) => from[name]).find((value): value is () => unknown => typeof value === "function");
  return {
    run,
    input: isSchema(from.input) ? from.input : undefined,
    reply: typeof from.reply === "string" && from.reply !== "" ? from.reply : undefined,
    init: firstFunction("init"),
    shutdown: firstFunction("shutdown"),
    ready: firstFunction("ready", "readiness"),
    alive: firstFunction("alive", "liveness"),
  };
}

function isSchema(value: unknown): value is Schema<unknown> {
  return isRecord(value) && typeof value.parse === "function";
}

export type Outcome =
  | { readonly kind: "returned"; readonly value: unknown }
  | { readonly kind: "threw"; readonly error: unknown }
  | { readonly kind: "deadline" };

/** A finished answer, body as bytes. */
export interface PlainAnswer {
  readonly kind: "plain";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}

/** What goes back; `event` still has to be encoded, `warning` is for the function's log. */
export type Answer =
  | PlainAnswer
  | { readonly kind: "event"; readonly event: CloudEvent; readonly warning?: string };

/** `complete` fills in a reply event (see reply.ts); `incoming` is undefined for plain HTTP. */
export function toAnswer(
  outcome: Outcome,
  incoming: CloudEvent | undefined,
  complete: (input: Partial<CloudEventInput>) => CloudEvent,
): Answer {
  switch (outcome.kind) {
    case "deadline":
      return problem(504, "DeadlineExceeded", "the function did not answer before its deadline");
    case "threw":
      return errorAnswer(outcome.error);
    case "returned":
      return valueAnswer(outcome.value, incoming, complete);
  }
}

function valueAnswer(
  value: unknown,
  incoming: CloudEvent | undefined,
  complete: (input: Partial<CloudEventInput>) => CloudEvent,
): Answer {
  if (value === undefined || value === null) {
    return { kind: "plain", status: incoming === undefined ? 204 : 200, headers: {}, body: undefined };
  }
  if (isCloudEvent(value)) {
    if (typeof value.type !== "string" || value.type === "") {
      return problem(500, "TypeError", "Expected the returned event to have a type");
    }
    // Own enumerable properties, so a `cloudevents` CloudEvent works as well as an object literal.
    return eventAnswer(complete({ ...value }), incoming);
  }
  if (incoming !== undefined) return eventAnswer(complete({ data: value }), incoming);
  const { data, contentType } = encodeData(value);
  return { kind: "plain", status: 200, headers: { "content-type": contentType ?? "" }, body: data };
}

function eventAnswer(event: CloudEvent, incoming: CloudEvent | undefined): Answer {
  if (event.type !== incoming?.type) return { kind: "event", event };
  return {
    kind: "event",
    event,
    warning: `the reply has the type of the event it answers, ${event.type}: a trigger that matches both loops until the broker's hop limit`,
  };
}

function errorAnswer(error: unknown): Answer {
  if (error instanceof DataUnparsable) return problem(400, "DataUnparsable", error.message);
  const sort = sortOf(error);
  const { name, message } = describe(error);
  if (sort === "reject" || isValidationError(error)) return problem(422, name, message);
  if (sort === "retry-after") {
    const seconds = (error as { seconds?: unknown }).seconds;
    return problem(503, name, message, { "retry-after": String(typeof seconds === "number" ? seconds : 1) });
  }
  return problem(500, name, message);
}

/** An error as a small JSON body (H3). */
export function problem(
  status: number,
  error: string,
  message: string,
  headers: Record<string, string> = {},
): PlainAnswer {
  let text = message;
  let body = Buffer.from(JSON.stringify({ error, message: text }));
  while (body.byteLength > errorBytesMax) {
    text = text.slice(0, Math.floor(text.length * 0.9));
    body = Buffer.from(JSON.stringify({ error: error.slice(0, 100), message: `${text}…` }));
  }
  return { kind: "plain", status, headers: { ...headers, "content-type": "application/json" }, body };
}

/** An event is what carries `specversion`, whichever class made it; any other object is data. */
export function isCloudEvent(value: unknown): value is CloudEventInput {
  return isRecord(value) && typeof value.specversion === "string";
}

function sortOf(error: unknown): unknown {
  return isRecord(error) ? (error as Record<symbol, unknown>)[Symbol.for("weft.sdk.error")] : undefined;
}

function isValidationError(error: unknown): boolean {
  return (
    isRecord(error) && Array.isArray(error.issues) && /ZodError$|ValidationError$/.test(String(error.name))
  );
}

function describe(error: unknown): { name: string; message: string } {
  if (isRecord(error) && Array.isArray(error.issues) && isValidationError(error)) {
    const issues = error.issues.map((issue: { path?: unknown[]; message?: unknown }) =>
      [issue.path?.join("."), issue.message].filter(Boolean).join(": "),
    );
    return { name: "ValidationError", message: issues.join("; ") };
  }
  return error instanceof Error || (isRecord(error) && typeof error.message === "string")
    ? { name: String(error.name ?? "Error"), message: String(error.message) }
    : { name: "Error", message: String(error) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
