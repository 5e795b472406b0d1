/**
 * Publishing into JetStream: one shared ack inbox, publishes of one tick leave in one write, each promise
 * resolves with its own PubAck. Neither `js.publish()` per event nor an unbounded `Promise.all` (DESIGN §6).
 *
 * P1  a resolved publish is stored; a rejected one may or may not be: retry with the same message id.
 * P2  un-acked publishes are bounded by count and by bytes (one that is larger than the bound goes alone); over the
 *     bound a publish is refused at once. A batch counts as one, with the bytes of all its members.
 * P3  when the connection drops, every un-acked publish is rejected at once: the client has lost it.
 * P4  nothing thrown here reaches the NATS reader.
 * P5  an acknowledgement never counts for another message than its own: the place it comes to is used again only
 *     once it has come. So there are few places, which the server's table of subjects keeps at hand.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from "@nats-io/nats-core";
import type { Clock, Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import { subjectOf } from "../nats/raw.ts";
import { type Outbox, outboxOf, type RawHeaders } from "./outbox.ts";

export type { RawHeaders };

export interface PubAck {
  readonly stream: string;
  readonly sequence: number;
  /** The message id was seen within the window; `sequence` is the first copy's. */
  readonly duplicate: boolean;
}

/** A message to be published. */
export interface OutgoingMessage {
  readonly subject: string;
  readonly headers: RawHeaders;
  readonly payload: Uint8Array;
}

const unackedMax = 8192;
const unackedBytesMax = 64 * 1024 * 1024;
const ackWaitMs = 5000;
const batchAckWaitMs = 10_000;
const sweepMs = 250;
/** Of a message, besides what its sender says. */
const overheadBytes = 256;

/** Where one acknowledgement comes to. */
interface Place {
  readonly number: number;
  readonly subject: string;
}

interface Waiting {
  readonly place: Place;
  readonly resolve: (ack: PubAck) => void;
  readonly reject: (error: MeshError) => void;
  readonly bytes: number;
  readonly waitMs: number;
  readonly deadline: number;
}

export class Publisher implements Closeable {
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #inbox: string;
  readonly #subscription: Subscription;
  readonly #sweeper: Timer;
  /** By place. */
  readonly #waiting = new Map<number, Waiting>();
  /** The one used last is used next. */
  readonly #free: Place[] = [];
  #places = 0;
  #bytes = 0;
  #connected = true;
  #isClosed = false;

  constructor(nc: NatsConnection, clock: Clock) {
    this.#outbox = outboxOf(nc);
    this.#clock = clock;
    this.#inbox = `${createInbox()}.`;
    this.#subscription = nc.subscribe(`${this.#inbox}*`, {
      callback: (error, msg) => {
        if (error === null) this.#onAck(msg);
      },
    });
    this.#sweeper = clock.every(sweepMs, () => this.#sweep());
  }

  /** Un-acked publishes now. */
  get unacked(): number {
    return this.#waiting.size;
  }

  /** Told by the connection's owner; P3. */
  setConnected(connected: boolean): void {
    this.#connected = connected;
    if (!connected) this.#rejectAll("the connection to NATS was lost");
  }

  /**
   * Stores one message. Rejects with OVERLOADED (P2), STORAGE_UNAVAILABLE (P1, P3, no stream, timeout, full
   * stream) or EVENT_TOO_LARGE.
   */
  publish(subject: string, payload: Uint8Array, headers: RawHeaders): Promise<PubAck> {
    return this.#send([{ subject, payload, headers }], ackWaitMs);
  }

  /** The same for an atomic batch: its members in their order, of which the last one commits it and is acknowledged. */
  publishBatch(members: readonly OutgoingMessage[]): Promise<PubAck> {
    return this.#send(members, batchAckWaitMs);
  }

  #send(messages: readonly OutgoingMessage[], waitMs: number): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(unavailable("the mesh is stopping"));
      if (!this.#connected) return reject(unavailable("NATS is not connected"));
      const bytes = bytesOf(messages);
      // What is larger than the bound by itself may go alone.
      const isOver = this.#waiting.size >= unackedMax || this.#bytes + bytes > unackedBytesMax;
      if (isOver && this.#waiting.size > 0) {
        return reject(
          new MeshError("OVERLOADED", { found: `${this.#waiting.size} events waiting for storage` }),
        );
      }
      const place = this.#free.pop() ?? this.#newPlace();
      const waiting = { place, resolve, reject, bytes, waitMs, deadline: this.#clock.monotonic() + waitMs };
      this.#bytes += bytes;
      this.#waiting.set(place.number, waiting);
      // Of a batch whose member stays here the server only knows that one is missing.
      const onRefused = (cause: Error) => {
        if (this.#waiting.get(place.number) === waiting) this.#fail(waiting, refusedByClient(cause));
      };
      const last = messages.length - 1;
      for (let at = 0; at <= last; at++) {
        const { subject, payload, headers } = messages[at] as OutgoingMessage;
        const reply = at === last ? place.subject : "";
        this.#outbox.send(subject, payload, { reply, headers, onRefused });
      }
    });
  }

  #newPlace(): Place {
    const number = this.#places++;
    return { number, subject: `${this.#inbox}${number}` };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#sweeper.cancel();
    this.#subscription.unsubscribe();
    this.#rejectAll("the mesh is stopping");
  }

  #onAck(msg: Msg): void {
    const waiting = this.#waiting.get(Number(subjectOf(msg).slice(this.#inbox.length)));
    if (waiting === undefined) return;
    this.#forget(waiting);
    this.#free.push(waiting.place);
    const answer = readAck(msg);
    if (answer instanceof MeshError) waiting.reject(answer);
    else waiting.resolve(answer);
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const waiting of this.#waiting.values()) {
      if (waiting.deadline > now) continue;
      this.#fail(waiting, unavailable(`no acknowledgement within ${waiting.waitMs} ms`));
    }
  }

  #rejectAll(why: string): void {
    for (const waiting of this.#waiting.values()) this.#fail(waiting, unavailable(why));
  }

  /** Its place is given up (P5). */
  #fail(waiting: Waiting, error: MeshError): void {
    this.#forget(waiting);
    waiting.reject(error);
  }

  #forget({ place, bytes }: Waiting): void {
    this.#waiting.delete(place.number);
    this.#bytes -= bytes;
  }
}

function bytesOf(messages: readonly OutgoingMessage[]): number {
  let bytes = 0;
  for (const { payload, headers } of messages) {
    bytes += payload.length + overheadBytes;
    for (const text of headers) bytes += text.length;
  }
  return bytes;
}

interface RawAck {
  stream?: string;
  seq?: number;
  duplicate?: boolean;
  error?: { code?: number; err_code?: number; description?: string };
}

/** What nearly every acknowledgement looks like. */
const plainAck = /^\{"stream":"([^"\\]*)", ?"seq":(\d{1,15})\}$/;

function readAck(msg: Msg): PubAck | MeshError {
  // An empty answer is the server's "no responders" status: no stream takes this subject right now.
  if (msg.data.length === 0) return unavailable("no stream takes the subject");
  const text = msg.string();
  const plain = plainAck.exec(text);
  if (plain !== null) return { stream: plain[1] ?? "", sequence: Number(plain[2]), duplicate: false };
  let raw: RawAck;
  try {
    raw = JSON.parse(text);
  } catch {
    return unavailable("the acknowledgement is not JSON");
  }
  if (raw.error !== undefined) return refusedByServer(raw.error);
  return { stream: raw.stream ?? "", sequence: raw.seq ?? 0, duplicate: raw.duplicate === true };
}

/** Sheet nats-jetstream §11. */
function refusedByServer(error: NonNullable<RawAck["error"]>): MeshError {
  const text = `${error.description ?? "unknown error"} (${error.err_code ?? error.code ?? 0})`;
  switch (error.err_code) {
    case 10054:
      return new MeshError("EVENT_TOO_LARGE", { found: text });
    case 10047:
    case 10077:
      return new MeshError("STREAM_FULL", { found: text });
    case 10097:
      return new MeshError("HEADERS_TOO_LARGE", { found: text });
    default:
      return new MeshError("STORAGE_UNAVAILABLE", { found: text, cause: error });
  }
}

/** The err_code with which the server refused a publish; undefined for any other failure. */
export function serverErrorCode(failure: unknown): number | undefined {
  const cause = failure instanceof MeshError ? failure.detail.cause : undefined;
  const code =
    typeof cause === "object" && cause !== null && "err_code" in cause ? cause.err_code : undefined;
  return typeof code === "number" ? code : undefined;
}

/** Whether a publish failed because the storage was out of reach, rather than because it was refused. */
export function isOutage(failure: unknown): boolean {
  if (!(failure instanceof MeshError)) return false;
  if (failure.code === "OVERLOADED") return true;
  return failure.code === "STORAGE_UNAVAILABLE" && serverErrorCode(failure) === undefined;
}

function refusedByClient(cause: Error): MeshError {
  const code = cause.message.includes("max_payload") ? "EVENT_TOO_LARGE" : "STORAGE_UNAVAILABLE";
  return new MeshError(code, { found: cause.message, cause });
}

function unavailable(found: string): MeshError {
  return new MeshError("STORAGE_UNAVAILABLE", { found });
}
