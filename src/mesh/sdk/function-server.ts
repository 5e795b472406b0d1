/**
 * One function behind one HTTP listener: takes requests, runs the handler, writes the answer.
 *
 * F1  Answers 503 until `load` is done and again once `drain` began; the host routes nothing here then anyway.
 * F2  With a token, a request without it is refused (403): other users and web pages of the machine cannot
 *     call an instance behind the host's back.
 * F3  Busy means: requests without an answer, plus `waitUntil` work. `drain` resolves when neither is left.
 * F4  Every request is answered once: by its handler, its deadline, or `failAll`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pathToFileURL } from "node:url";
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import { DataUnparsable, fromAuthorEvent, toAuthorEvent } from "./author-event.ts";
import { claimsEvent, decodeRequest, encodeReply } from "./codec.ts";
import { type Complete, createCtx, type FunctionIdentity } from "./ctx.ts";
import {
  type FunctionExports,
  type Outcome,
  type PlainAnswer,
  problem,
  resolveExports,
  toAnswer,
} from "./handler.ts";
import { createJsonLog } from "./json-log.ts";
import type { CloudEvent, CloudEventInput, Logger } from "./sdk.ts";
import {
  bodyBytesMax,
  dataOfResponse,
  httpEvent,
  readBody,
  toWebRequest,
  write,
  writeWebResponse,
} from "./web.ts";

export const tokenHeader = "weft-instance-token";

export interface FunctionServerOptions {
  readonly identity: FunctionIdentity;
  /** Required of every request when set. */
  readonly token: string | undefined;
  readonly timeoutMs: number;
  /** Where `ctx.emit` posts: `<ingressUrl>/<namespace>/<broker>`. */
  readonly ingressUrl: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
}

export interface FunctionServerParts {
  readonly clock: Clock;
  readonly writeLine: (line: string) => void;
  /** Called when the number of unsettled `waitUntil` promises changes. */
  readonly onPending: (pending: number) => void;
}

type Phase =
  | { readonly kind: "empty" }
  | { readonly kind: "serving"; readonly options: FunctionServerOptions; readonly exports: FunctionExports }
  | { readonly kind: "draining" };

interface Call {
  readonly response: ServerResponse;
  readonly abort: AbortController;
}

export class FunctionServer {
  readonly #server: Server;
  readonly #parts: FunctionServerParts;
  readonly #calls = new Set<Call>();
  #phase: Phase = { kind: "empty" };
  #pending = 0;
  #wakeDrain: () => void = () => {};

  constructor(parts: FunctionServerParts) {
    this.#parts = parts;
    // The callers are the mesh's own pools: they close idle connections, so that none is used as it closes.
    this.#server = createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        this.#log().error("request failed", { error });
        response.destroy();
      });
    });
  }

  /** Resolves to the port; done before the function is known, so that it can be told its PORT. */
  listen(port: number, address: string): Promise<number> {
    // Node loads its web classes at first use; a waiting process has the time, a first event has not.
    new Headers();
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, address, () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  /** Imports the bundle and runs `init`; rejects with whatever the author's code threw. */
  async load(file: string, options: FunctionServerOptions): Promise<{ importMs: number; initMs: number }> {
    const { clock } = this.#parts;
    const start = clock.monotonic();
    const exports = resolveExports(await import(pathToFileURL(file).href));
    const imported = clock.monotonic();
    await exports.init?.();
    this.#phase = { kind: "serving", options, exports };
    return { importMs: imported - start, initMs: clock.monotonic() - imported };
  }

  /** Stops accepting, waits for what is busy (F3), runs `shutdown`. Never rejects. */
  async drain(): Promise<void> {
    if (this.#phase.kind === "draining") return;
    const shutdown = this.#phase.kind === "serving" ? this.#phase.exports.shutdown : undefined;
    this.#phase = { kind: "draining" };
    this.#server.close();
    this.#server.closeIdleConnections();
    while (this.#calls.size > 0 || this.#pending > 0) {
      await new Promise<void>((resolve) => {
        this.#wakeDrain = resolve;
      });
    }
    try {
      await shutdown?.();
    } catch (error) {
      this.#log().error("shutdown failed", { error });
    }
  }

  /** The process is about to die of `error`: everyone waiting gets a 500 (F4). Resolves once written. */
  async failAll(error: unknown): Promise<void> {
    const answer = problem(500, "Crashed", `the function crashed: ${messageOf(error)}`);
    await Promise.all(
      [...this.#calls]
        .filter(({ response }) => !response.destroyed && !response.writableFinished)
        .map(
          ({ response }) =>
            new Promise<void>((resolve) => {
              response.once("close", resolve);
              write(response, answer);
            }),
        ),
    );
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const phase = this.#phase;
    if (phase.kind !== "serving") {
      response.setHeader("connection", "close");
      return write(response, problem(503, "NotServing", `the instance is ${phase.kind}`));
    }
    const { options, exports } = phase;
    if (options.token !== undefined && request.headers[tokenHeader] !== options.token) {
      return write(
        response,
        problem(403, "Forbidden", "Call the function through the mesh, not its instance"),
      );
    }
    delete request.headers[tokenHeader];
    const health = healthCheck(request, exports);
    if (health !== undefined) return write(response, await health);

    const call: Call = { response, abort: new AbortController() };
    this.#calls.add(call);
    response.once("close", () => {
      if (!response.writableFinished) call.abort.abort(new Error("the caller went away"));
    });
    try {
      await this.#answer(request, call, phase);
    } finally {
      this.#calls.delete(call);
      this.#wakeDrain();
    }
  }

  async #answer(request: IncomingMessage, call: Call, phase: Phase & { kind: "serving" }): Promise<void> {
    const { run, input, reply } = phase.exports;
    const { options } = phase;
    const { clock } = this.#parts;
    const isEvent = claimsEvent(request.headers);
    // Only a plain HTTP function may want to stream its body in.
    const body = run.kind === "event" || isEvent ? await readBody(request) : Buffer.alloc(0);
    if (body === undefined) {
      return write(call.response, problem(413, "BodyTooLarge", `the body is over ${bodyBytesMax} bytes`));
    }
    const decoded = decode(request, { body, isEvent, clock });
    if (decoded.kind === "plain") return write(call.response, decoded);
    const { event } = decoded;
    const incoming = isEvent ? event : undefined;

    const { signal } = call.abort;
    const { ctx, complete } = createCtx({
      ...{ request, incoming, signal, clock, replyType: reply },
      ...{ identity: options.identity, timeoutMs: options.timeoutMs, ingressUrl: options.ingressUrl },
      log: (fields) => this.#log(fields),
      waitUntil: (work, log) => this.#waitUntil(work, { timeoutMs: options.timeoutMs, log }),
    });
    const timer = clock.after(Math.max(0, ctx.deadline - clock.now()), () =>
      call.abort.abort(deadlinePassed),
    );
    const outcome = await race(signal, async () => {
      const value =
        run.kind === "event"
          ? await run.handle(input === undefined ? event : { ...event, data: input.parse(event.data) }, ctx)
          : await run.fetch(
              toWebRequest(request, { signal, body: isEvent ? body : undefined }),
              options.environment,
              ctx,
            );
      return isEvent && value instanceof Response ? dataOfResponse(value) : value;
    });
    timer.cancel();
    if (outcome.kind === "threw") ctx.log.error("handler threw", { error: outcome.error });
    if (outcome.kind === "deadline") ctx.log.error("handler missed its deadline");
    if (outcome.kind === "returned" && outcome.value instanceof Response) {
      return writeWebResponse(call.response, outcome.value);
    }
    write(call.response, encodeAnswer(outcome, { incoming, complete, log: ctx.log }));
  }

  /** F3. Given up on after `timeoutMs`; a failure is only logged, the event is already settled. */
  #waitUntil(work: Promise<unknown>, { timeoutMs, log }: { timeoutMs: number; log: Logger }): void {
    this.#setPending(this.#pending + 1);
    let settled = false;
    const settle = () => {
      if (settled) return;
      settled = true;
      timer.cancel();
      this.#setPending(this.#pending - 1);
    };
    const timer = this.#parts.clock.after(timeoutMs, () => {
      log.warn("waitUntil did not settle in time");
      settle();
    });
    Promise.resolve(work)
      .catch((error: unknown) => log.error("waitUntil failed", { error }))
      .then(settle, settle);
  }

  #setPending(pending: number): void {
    this.#pending = pending;
    this.#parts.onPending(pending);
    this.#wakeDrain();
  }

  #log(fields: Record<string, unknown> = {}): Logger {
    return createJsonLog(fields, { clock: this.#parts.clock, write: this.#parts.writeLine });
  }
}

const deadlinePassed = new Error("the deadline passed");

/** Whichever is first: the handler, or the deadline. A handler that goes on afterwards is not waited for. */
function race(signal: AbortSignal, run: () => Promise<unknown>): Promise<Outcome> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => {
      if (signal.reason === deadlinePassed) resolve({ kind: "deadline" });
    });
    run().then(
      (value) => resolve({ kind: "returned", value }),
      (error: unknown) => resolve({ kind: "threw", error }),
    );
  });
}

type Decoded = { readonly kind: "event"; readonly event: CloudEvent } | PlainAnswer;

function decode(
  request: IncomingMessage,
  { body, isEvent, clock }: { body: Uint8Array; isEvent: boolean; clock: Clock },
): Decoded {
  try {
    if (!isEvent) return { kind: "event", event: httpEvent(request, body, clock) };
    return { kind: "event", event: toAuthorEvent(decodeRequest(request.rawHeaders, body)) };
  } catch (error) {
    if (error instanceof DataUnparsable) return problem(400, "DataUnparsable", error.message);
    if (error instanceof MeshError) return problem(error.status, error.code, error.message);
    throw error;
  }
}

/** An answer the author's own return value spoils (an invalid attribute, data JSON cannot hold) is a 500. */
function encodeAnswer(
  outcome: Outcome,
  { incoming, complete, log }: { incoming: CloudEvent | undefined; complete: Complete; log: Logger },
): PlainAnswer {
  try {
    const answer = toAnswer(outcome, incoming, complete);
    if (answer.kind === "plain") return answer;
    if (answer.warning !== undefined) log.warn(answer.warning);
    const { headers, body } = encodeReply(fromAuthorEvent(answer.event as CloudEventInput));
    return { kind: "plain", status: 200, headers, body };
  } catch (error) {
    log.error("the returned value cannot be sent", { error });
    return problem(500, "ReplyInvalid", messageOf(error));
  }
}

function healthCheck(
  request: IncomingMessage,
  { ready, alive }: FunctionExports,
): Promise<PlainAnswer> | undefined {
  if (request.method !== "GET") return undefined;
  if (request.url === "/health/readiness") return checked(ready);
  if (request.url === "/health/liveness") return checked(alive);
  return undefined;
}

async function checked(check: (() => unknown) | undefined): Promise<PlainAnswer> {
  try {
    if ((await check?.()) === false) return problem(503, "Unhealthy", "the function says so");
    return { kind: "plain", status: 200, headers: { "content-type": "text/plain" }, body: Buffer.from("OK") };
  } catch (error) {
    return problem(503, "Unhealthy", messageOf(error));
  }
}
