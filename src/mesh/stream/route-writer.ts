/**
 * Brings the active control plane's routes into the route bucket.
 *
 * P1  the last set wins: what could not be written is tried again until it is, or until it is wanted no more.
 * P2  a control plane that has just taken over knows only part of the routes: what it has not come to yet stays.
 *     A route goes when this writer had it and has it no more, or when `complete` finds its object gone.
 * P3  every write is a compare-and-swap and is made only while `mayWrite`: a control plane that was replaced
 *     overwrites nothing.
 */
import { JetStreamApiError } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { encodeRoute } from "../routes/codec.ts";
import type { Routes } from "../routes/route.ts";
import { routeMarkerTtl } from "./route-bucket.ts";
import { brokerRouteKey, routeKindOf, routesCompleteKey, triggerRouteKey } from "./subjects.ts";

const retryMs = 500;
/** "The expected last sequence is not the last": alone, and in a cluster with writes in flight. */
const casFailed: readonly number[] = [10071, 10164];

export interface RouteWriterOptions {
  readonly kv: KV;
  readonly clock: Clock;
  readonly log: Log;
  readonly mayWrite: () => boolean;
}

interface Alive {
  readonly brokers: readonly { readonly namespace: string; readonly name: string }[];
  readonly triggers: readonly { readonly namespace: string; readonly name: string }[];
}

/** A key of the bucket as it is; a deleted one has no text. */
interface Entry {
  readonly text: string | undefined;
  readonly revision: number;
}

export class RouteWriter implements Closeable {
  readonly #options: RouteWriterOptions;
  readonly #stopping = new AbortController();
  readonly #written = new Map<string, Entry>();
  /** What each key is to hold; undefined: nothing. Keys nobody has spoken of are left alone (P2). */
  readonly #wanted = new Map<string, string | undefined>();
  #isRead = false;
  #writing: Promise<void> | undefined;

  constructor(options: RouteWriterOptions) {
    this.#options = options;
  }

  /** The routes as they are to be; written in the background. */
  set({ brokers, triggers }: Routes): void {
    const now = new Map([
      ...brokers.map((route) => [brokerRouteKey(route), encodeRoute(route)] as const),
      ...triggers.map((route) => [triggerRouteKey(route), encodeRoute(route)] as const),
    ]);
    for (const key of this.#wanted.keys()) {
      if (routeKindOf(key) !== undefined && !now.has(key)) this.#wanted.set(key, undefined);
    }
    for (const [key, text] of now) this.#wanted.set(key, text);
    this.#writeSoon();
  }

  /** The revision of the bucket that holds all that was written. */
  get revision(): number {
    return Math.max(0, ...[...this.#written.values()].map(({ revision }) => revision));
  }

  /** Resolves when all that was set is written, or when closed. */
  async settled(): Promise<void> {
    while (!this.#stopping.signal.aborted && this.#pending().length > 0) {
      this.#writeSoon();
      await this.#writing;
    }
  }

  /** Rejects when what was set is not written within `ms`. */
  async settledWithin(ms: number): Promise<void> {
    if (this.#pending().length === 0) return;
    const isOver = new AbortController();
    await Promise.race([this.settled(), this.#options.clock.sleep(ms, isOver.signal)]);
    isOver.abort();
    if (this.#pending().length > 0) throw new Error("the routes are not written");
  }

  /** Removes the routes of what exists no more, and says that the set is complete. Resolves when it is written. */
  async complete(alive: Alive): Promise<void> {
    while (!this.#isRead && !this.#stopping.signal.aborted) {
      this.#writeSoon();
      await this.#writing;
    }
    const keep = new Set([...alive.brokers.map(brokerRouteKey), ...alive.triggers.map(triggerRouteKey)]);
    for (const [key, { text }] of this.#written) {
      const isRoute = text !== undefined && routeKindOf(key) !== undefined;
      if (isRoute && !keep.has(key) && !this.#wanted.has(key)) this.#wanted.set(key, undefined);
    }
    await this.settled();
    this.#wanted.set(routesCompleteKey, "1");
    await this.settled();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#writing;
  }

  #writeSoon(): void {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
      if (!this.#stopping.signal.aborted && this.#pending().length > 0) this.#writeSoon();
    });
  }

  #pending(): string[] {
    return [...this.#wanted].flatMap(([key, text]) => (this.#written.get(key)?.text === text ? [] : [key]));
  }

  /** P1. Never rejects. */
  async #write(): Promise<void> {
    const { clock, log, mayWrite } = this.#options;
    const { signal } = this.#stopping;
    try {
      if (!this.#isRead) await this.#read();
      for (const key of this.#pending()) {
        if (signal.aborted) return;
        if (!mayWrite()) throw new Error("another process has taken over");
        await this.#writeKey(key);
      }
    } catch (error) {
      log.debug({ stage: "stream", error: messageOf(error) }, "routes could not be written");
      await clock.sleep(retryMs, signal);
    }
  }

  async #writeKey(key: string): Promise<void> {
    const { kv } = this.#options;
    const text = this.#wanted.get(key);
    const previousSeq = this.#written.get(key)?.revision ?? 0;
    try {
      if (text !== undefined) {
        this.#written.set(key, { text, revision: await kv.put(key, text, { previousSeq }) });
        return;
      }
      await kv.purge(key, { previousSeq, ttl: routeMarkerTtl });
      await this.#look(key);
    } catch (error) {
      if (!(error instanceof JetStreamApiError && casFailed.includes(error.code))) throw error;
      await this.#look(key);
    }
  }

  async #look(key: string): Promise<void> {
    const entry = await this.#options.kv.get(key);
    if (entry === null) this.#written.delete(key);
    else {
      const text = entry.operation === "PUT" ? entry.string() : undefined;
      this.#written.set(key, { text, revision: entry.revision });
    }
  }

  async #read(): Promise<void> {
    const { kv } = this.#options;
    const keys: string[] = [];
    for await (const key of await kv.keys()) keys.push(key);
    for (const key of keys) await this.#look(key);
    this.#isRead = true;
  }
}
