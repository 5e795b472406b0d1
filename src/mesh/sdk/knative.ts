/**
 * Runs the handler of an unmodified `func create -l node|typescript` project: `(context, event)` for events,
 * `(context, body)` for plain HTTP, with the context its own runtime would give it. Query parameters are not
 * copied onto the context: a request must not overwrite `log` or `body`.
 */
import { httpRequestType } from "./author-event.ts";
import type { CloudEvent, Ctx, EventAttributes, Handler } from "./sdk.ts";

export type KnativeHandle = (context: KnativeContext, payload: unknown) => unknown;

export interface KnativeContext {
  readonly log: Record<
    "trace" | "debug" | "info" | "warn" | "error" | "fatal",
    (...values: unknown[]) => void
  >;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly contentType: string | undefined;
  readonly cloudevent: CloudEvent | undefined;
  cloudEventResponse(data?: unknown): ResponseBuilder;
}

/** Turns `(context, event)` into `(event, ctx)`. A returned `{statusCode, headers, body}` becomes a Response. */
export function knativeHandler(handle: KnativeHandle): Handler {
  return async (event, ctx) => {
    const isEvent = event.type !== httpRequestType;
    const result = await handle(contextOf(event, ctx, isEvent), isEvent ? event : event.data);
    return isStatusResult(result) ? toResponse(result) : result;
  };
}

function contextOf(event: CloudEvent, ctx: Ctx, isEvent: boolean): KnativeContext {
  const log =
    (level: "debug" | "info" | "warn" | "error") =>
    (...values: unknown[]) => {
      const text = values.filter((value) => typeof value !== "object").join(" ");
      ctx.log[level](text, Object.assign({}, ...values.filter((value) => typeof value === "object")));
    };
  const url = new URL(String(event.subject ?? "/"), "http://localhost");
  return {
    log: {
      trace: log("debug"),
      debug: log("debug"),
      info: log("info"),
      warn: log("warn"),
      error: log("error"),
      fatal: log("error"),
    },
    method: String(event.method ?? "POST"),
    headers: Object.fromEntries(ctx.headers),
    query: isEvent ? {} : Object.fromEntries(url.searchParams),
    body: event.data,
    contentType: event.datacontenttype,
    cloudevent: isEvent ? event : undefined,
    cloudEventResponse: (data) => new ResponseBuilder(data),
  };
}

/** `context.cloudEventResponse(data).type("x").source("/y").response()`. */
export class ResponseBuilder {
  #attributes: Record<string, unknown> = { specversion: "1.0" };

  constructor(data?: unknown) {
    if (data !== undefined) this.#attributes.data = data;
  }
  id(id: string): this {
    return this.#set("id", id);
  }
  type(type: string): this {
    return this.#set("type", type);
  }
  source(source: string): this {
    return this.#set("source", source);
  }
  version(specversion: string): this {
    return this.#set("specversion", specversion);
  }
  response(): EventAttributes {
    return this.#attributes;
  }
  #set(name: string, value: string): this {
    this.#attributes[name] = value;
    return this;
  }
}

interface StatusResult {
  readonly statusCode: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}

function isStatusResult(value: unknown): value is StatusResult {
  return (
    typeof value === "object" &&
    value !== null &&
    "statusCode" in value &&
    typeof value.statusCode === "number"
  );
}

function toResponse({ statusCode, headers = {}, body }: StatusResult): Response {
  const empty = body === undefined || body === null;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Response(empty ? null : body instanceof Uint8Array ? Buffer.from(body) : text, {
    status: statusCode,
    headers,
  });
}
