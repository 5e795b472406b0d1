/**
 * Requests of NATS clients: what is published to `weft.rq.<ns>.<broker>.<type>` is stored like any other event,
 * and the reply event goes to the NATS reply subject. All ingress processes share the work.
 *
 * X1  nothing thrown here reaches the NATS reader.
 * X2  of a client's headers only the event's own, the allow-list of HTTP, Prefer, Accept and Weft-Reply-Type are read.
 */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import { headers as createHeaders } from "@nats-io/nats-core";
import { MeshError, messageOf } from "../errors.ts";
import { encodeJson } from "../event/json.ts";
import { attributesBytesMaxDefault } from "../event/limits.ts";
import { structuredType } from "../event/media-type.ts";
import { decodeNats } from "../event/nats.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { RawHeaders } from "../stream/publish.ts";
import { encodeStored } from "../stream/stored-event.ts";
import { brokerOfRequest, requestQueue, requestSubject, requestSubjects } from "../stream/subjects.ts";
import { headersBeside } from "./accept.ts";
import { checkReplyType } from "./http-request.ts";
import { type WaitBounds, waitMsOf } from "./preference.ts";
import { type Request, type RequestOutcome, type RequestParts, request } from "./request.ts";

export interface NatsRequestParts extends RequestParts {
  readonly nc: NatsConnection;
  readonly log: Log;
  readonly waits: WaitBounds;
  /** Why nothing may enter the broker `<namespace>/<name>` right now, or undefined. */
  readonly refusal: (path: string) => MeshError | undefined;
}

export class NatsRequests implements Closeable {
  readonly #parts: NatsRequestParts;
  readonly #subscription: Subscription;

  constructor(parts: NatsRequestParts) {
    this.#parts = parts;
    this.#subscription = parts.nc.subscribe(requestSubjects, {
      queue: requestQueue,
      callback: (error, msg) => {
        if (error === null) void this.#serve(msg);
      },
    });
  }

  /** Takes no further request; those that wait are ended by their requester. */
  async close(): Promise<void> {
    this.#subscription.unsubscribe();
  }

  /** X1: never rejects. */
  async #serve(msg: Msg): Promise<void> {
    const { log, waits } = this.#parts;
    try {
      const asking = read(msg);
      const refusal = this.#parts.refusal(asking.path);
      if (refusal !== undefined) throw refusal;
      // Without a reply subject nobody waits, but a wait is all there is to tell what became of the event.
      const asked = waitMsOf(headerOf(msg, "Prefer"), waits) ?? Math.min(waits.defaultMs, waits.maxMs);
      const waitMs = msg.reply === undefined || msg.reply === "" ? 0 : asked;
      const signal = new AbortController().signal;
      answer(msg, await request(this.#parts, asking, { waitMs, signal }));
    } catch (error) {
      if (!(error instanceof MeshError)) log.error({ stage: "ingress", error }, "a request failed");
      const refusal =
        error instanceof MeshError
          ? error
          : new MeshError("STORAGE_UNAVAILABLE", { found: "an internal error" });
      this.#refuse(msg, refusal);
    }
  }

  #refuse(msg: Msg, error: MeshError): void {
    try {
      refuse(msg, error, {});
    } catch (failed) {
      this.#parts.log.warn({ stage: "ingress", error: messageOf(failed) }, "a request could not be answered");
    }
  }
}

/** X2. Throws MeshError. */
function read(msg: Msg): Request {
  const broker = brokerOfRequest(msg.subject);
  if (broker === undefined) {
    throw new MeshError("PATH_INVALID", {
      field: "subject",
      expected: "weft.rq.<namespace>.<broker>.<type>",
      found: msg.subject.slice(0, 200),
    });
  }
  const event = decodeNats(msg.headers ?? [], msg.data, { attributesBytesMax: attributesBytesMaxDefault });
  const expected = requestSubject(broker, event.attributes.type);
  if (msg.subject !== expected) {
    throw new MeshError("REQUEST_INVALID", {
      field: "subject",
      expected: `${expected}, as the event's type says`,
      found: msg.subject.slice(0, 200),
    });
  }
  const type = headerOf(msg, "Weft-Reply-Type");
  const pairs = [...(msg.headers ?? [])].flatMap(([name, values]) => [name, values[0] ?? ""]);
  return {
    path: `${broker.namespace}/${broker.name}`,
    event,
    beside: headersBeside(pairs),
    replyType: type === undefined ? undefined : checkReplyType(type),
  };
}

/** Header names of NATS are case-sensitive, those of HTTP are not: any case is understood. */
function headerOf(msg: Msg, name: string): string | undefined {
  for (const [each, values] of msg.headers ?? []) {
    if (each.length === name.length && each.toLowerCase() === name.toLowerCase()) return values[0];
  }
  return undefined;
}

function answer(msg: Msg, outcome: RequestOutcome): void {
  switch (outcome.kind) {
    case "left":
      return;
    case "none":
      refuse(msg, outcome.error, outcome.problem);
      return;
    case "reply": {
      const structured = headerOf(msg, "Accept")?.toLowerCase().includes(structuredType) === true;
      const { headers, payload } = structured
        ? { headers: ["content-type", structuredType], payload: encodeJson(outcome.event) }
        : encodeStored(outcome.event);
      msg.respond(payload, { headers: toHdrs(headers) });
    }
  }
}

/** As a NATS service answers an error: its code and text in headers, our problem document as payload. */
function refuse(msg: Msg, error: MeshError, problem: Readonly<Record<string, unknown>>): void {
  const text = `${error.code}: ${error.message}`.replace(/[^\x20-\x7e]/g, "?").slice(0, 1000);
  const headers = [
    ...["Nats-Service-Error-Code", `${error.status}`],
    ...["Nats-Service-Error", text],
    ...["content-type", "application/problem+json"],
  ];
  msg.respond(JSON.stringify({ ...error.toProblem(), ...problem }), { headers: toHdrs(headers) });
}

function toHdrs(headers: RawHeaders) {
  const hdrs = createHeaders();
  for (let at = 0; at < headers.length; at += 2) hdrs.set(headers[at] ?? "", headers[at + 1] ?? "");
  return hdrs;
}
