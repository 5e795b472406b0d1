/**
 * One call of a target, whatever it is: a URL, a function instance of this mesh, or a broker of this mesh.
 * Always answers as a SendResult, so that judging it knows no difference.
 */
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { inheritHops, takeHop } from "../event/hops.ts";
import { encodeBinaryHeaders, encodeStructured, needsStructured } from "../event/http.ts";
import type { BrokerRoute, DeliveryPolicy, Target, TriggerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import type { EventStore } from "../stream/event-store.ts";
import { isOutage } from "../stream/publish.ts";
import type { Capacity } from "./capacity.ts";
import type { Sender, SendResult, Unsent } from "./send.ts";

export interface Call {
  readonly event: Event;
  readonly policy: DeliveryPolicy;
  /** Whose delivery it is; functions of this mesh are told. */
  readonly broker: BrokerRoute;
  readonly route: TriggerRoute;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** Headers besides the event's own, `[name, value, …]`. */
  readonly headers: readonly string[];
  /** Deduplication id when the target is a broker. */
  readonly messageId: string;
  /** Hops left, for a broker target. */
  readonly hops: string | undefined;
  readonly signal: AbortSignal;
  /** Told true when the call begins to wait for a function's capacity, false when it has it. */
  readonly onWaiting: (waiting: boolean) => void;
}

/** A call save for what is called with. */
export type CallContext = Omit<Call, "event" | "messageId">;

export type CallResult = SendResult | Unsent;

export interface CallerParts {
  readonly sender: Sender;
  readonly capacity: Capacity;
  readonly store: EventStore;
  readonly table: RouteTable;
  readonly clock: Clock;
}

const emptyAnswer = new Uint8Array(0);

export class Caller {
  readonly #parts: CallerParts;

  constructor(parts: CallerParts) {
    this.#parts = parts;
  }

  call(target: Target, call: Call): Promise<CallResult> {
    switch (target.kind) {
      case "url":
        return this.#post(target.uri, call);
      case "function":
        return this.#callFunction(target, call);
      case "broker":
        return this.#storeIn(target, call);
    }
  }

  async #callFunction(target: Extract<Target, { kind: "function" }>, call: Call): Promise<CallResult> {
    const { capacity, clock } = this.#parts;
    let lease: Awaited<ReturnType<Capacity["acquire"]>>;
    call.onWaiting(true);
    try {
      lease = await capacity.acquire(target, call.signal);
    } catch (error) {
      if (call.signal.aborted) return { kind: "aborted", ms: 0 };
      if (error instanceof MeshError) return { kind: "unavailable", message: error.message };
      throw error;
    } finally {
      call.onWaiting(false);
    }
    let outcome: "answered" | "broken" = "broken";
    try {
      const told = functionHeaders(call, clock.now() + call.policy.timeoutMs);
      const headers = [...told, ...Object.entries(lease.headers).flat()];
      const result = await this.#post(lease.url + target.path, call, headers);
      // What was stopped, or never sent, says nothing of the instance.
      if (result.kind !== "failed") outcome = "answered";
      return result;
    } finally {
      lease.release(outcome);
    }
  }

  async #storeIn(target: Extract<Target, { kind: "broker" }>, call: Call): Promise<CallResult> {
    const { table, store, clock } = this.#parts;
    const startedMs = clock.monotonic();
    const ms = () => Math.round(clock.monotonic() - startedMs);
    const broker = table.broker(`${target.namespace}/${target.name}`);
    if (broker === undefined) {
      return { kind: "answered", status: 404, headers: [], body: emptyAnswer, truncated: false, ms: ms() };
    }
    const event = takeHop(inheritHops(call.event, call.hops), broker.hopsMax);
    if (event === undefined) {
      return { kind: "answered", status: 400, headers: [], body: emptyAnswer, truncated: false, ms: ms() };
    }
    try {
      await store.store(broker, event, { messageId: call.messageId, now: true });
      return { kind: "answered", status: 202, headers: [], body: emptyAnswer, truncated: false, ms: ms() };
    } catch (error) {
      if (isOutage(error)) return { kind: "unavailable", message: messageOf(error) };
      return { kind: "failed", error: "NotStored", message: messageOf(error), ms: ms() };
    }
  }

  #post(uri: string, call: Call, more: readonly string[] = []): Promise<CallResult> {
    const url = parseHttpUrl(uri);
    if (url === undefined) {
      const message = `${uri} is no http or https URL`;
      return Promise.resolve({ kind: "failed", error: "UnsupportedUrl", message, ms: 0 });
    }
    const { event, policy, signal } = call;
    const structured = needsStructured(event, policy.format);
    const encoded = structured ? encodeStructured(event) : undefined;
    const headers =
      encoded === undefined ? encodeBinaryHeaders(event) : ["content-type", encoded.contentType];
    headers.push(...call.headers, ...more);
    const body = encoded === undefined ? event.data : encoded.body;
    return this.#parts.sender.send({ url, headers, body, timeoutMs: policy.timeoutMs, signal });
  }
}

function functionHeaders({ broker, route, attempt }: Call, deadlineMs: number): string[] {
  return [
    ...["weft-attempt", `${attempt}`],
    ...["weft-trigger", `${route.namespace}/${route.name}`],
    ...["weft-broker", `${broker.namespace}/${broker.name}`],
    ...["weft-deadline", `${Math.round(deadlineMs)}`],
  ];
}

const urls = new Map<string, URL>();
const urlsMax = 10_000;

function parseHttpUrl(uri: string): URL | undefined {
  const known = urls.get(uri);
  if (known !== undefined) return known;
  const url = URL.parse(uri);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return undefined;
  if (urls.size >= urlsMax) urls.clear();
  urls.set(uri, url);
  return url;
}
