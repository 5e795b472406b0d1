/**
 * Keeps a data plane's routes in step with the route bucket.
 *
 * F1  routes are handed on only once the bucket was read to its end and holds a complete set; until then there
 *     are none, which is not the same as an empty set.
 * F2  a lost watch, a reconnect or a watch that lags leads to reading the whole bucket again, while the routes of
 *     before stay in force: what was deleted meanwhile is noticed by its absence.
 * F3  a route that did not change stays the same object: who holds it need not look at it again.
 */
import type { KV, KvWatchEntry } from "@nats-io/kv";
import type { QueuedIterator } from "@nats-io/nats-core";
import type { Clock, Timer } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { decodeBrokerRoute, decodeTriggerRoute } from "../routes/codec.ts";
import type { BrokerRoute, Routes, TriggerRoute } from "../routes/route.ts";
import { routeKindOf, routesCompleteKey } from "./subjects.ts";

const retryMs = 250;
const lagCheckMs = 5000;
const closeWaitMs = 1000;

export interface RouteFollowerOptions {
  readonly kv: KV;
  readonly clock: Clock;
  readonly log: Log;
  /** The whole set, each time anything in it changed. Must not throw. */
  readonly onRoutes: (routes: Routes) => void;
}

type Held =
  | { readonly text: string; readonly kind: "broker"; readonly route: BrokerRoute }
  | { readonly text: string; readonly kind: "trigger"; readonly route: TriggerRoute }
  | { readonly text: string; readonly kind: "none" };

export class RouteFollower implements Closeable {
  readonly #options: RouteFollowerOptions;
  readonly #stopping = new AbortController();
  readonly #lagCheck: Timer;
  readonly #following: Promise<void>;
  #held: ReadonlyMap<string, Held> = new Map();
  /** The last revision of the bucket that was seen. */
  #revision = 0;
  #complete = false;
  #announcing = false;
  #watch: QueuedIterator<KvWatchEntry> | undefined;

  constructor(options: RouteFollowerOptions) {
    this.#options = options;
    this.#following = this.#follow();
    this.#lagCheck = options.clock.every(lagCheckMs, () =>
      background(this.#checkLag(), (error) =>
        options.log.debug({ stage: "stream", error: messageOf(error) }, "the route bucket was not checked"),
      ),
    );
  }

  /** F1. */
  get isComplete(): boolean {
    return this.#complete;
  }

  /** The bucket's revision these routes are at. */
  get revision(): number {
    return this.#revision;
  }

  /** The connection to NATS is back. F2. */
  restart(): void {
    this.#watch?.stop();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    this.#lagCheck.cancel();
    this.#watch?.stop();
    await Promise.race([this.#following, this.#options.clock.sleep(closeWaitMs)]);
  }

  async #follow(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#followOnce();
      } catch (error) {
        log.warn({ stage: "stream", error: messageOf(error) }, "the watch of the routes broke");
      }
      if (!signal.aborted) await clock.sleep(retryMs, signal);
    }
  }

  async #followOnce(): Promise<void> {
    const watch = await this.#options.kv.watch();
    this.#watch = watch;
    if (this.#stopping.signal.aborted) watch.stop();
    const held = new Map<string, Held>();
    let isRead = false;
    for await (const entry of watch) {
      this.#apply(entry, held);
      this.#revision = Math.max(this.#revision, entry.revision);
      isRead ||= entry.delta === 0;
      if (!isRead) continue;
      this.#held = held;
      this.#complete ||= held.has(routesCompleteKey);
      this.#announceSoon();
    }
  }

  #apply(entry: KvWatchEntry, held: Map<string, Held>): void {
    const { key } = entry;
    if (entry.operation !== "PUT") {
      held.delete(key);
      return;
    }
    const text = entry.string();
    const known = held.get(key) ?? this.#held.get(key);
    if (known?.text === text) held.set(key, known);
    else held.set(key, this.#read(key, text));
  }

  #read(key: string, text: string): Held {
    const kind = routeKindOf(key);
    const broker = kind === "broker" ? decodeBrokerRoute(text) : undefined;
    if (broker !== undefined) return { text, kind: "broker", route: broker };
    const trigger = kind === "trigger" ? decodeTriggerRoute(text) : undefined;
    if (trigger !== undefined) return { text, kind: "trigger", route: trigger };
    if (kind !== undefined) {
      this.#options.log.error({ stage: "stream", key }, "a route cannot be read; it is ignored");
    }
    return { text, kind: "none" };
  }

  /** What arrives in one go is announced once. */
  #announceSoon(): void {
    if (this.#announcing || !this.#complete) return;
    this.#announcing = true;
    setImmediate(() => {
      this.#announcing = false;
      if (this.#stopping.signal.aborted) return;
      const all = [...this.#held.values()];
      this.#options.onRoutes({
        brokers: all.flatMap((each) => (each.kind === "broker" ? each.route : [])),
        triggers: all.flatMap((each) => (each.kind === "trigger" ? each.route : [])),
      });
    });
  }

  /** F2: a watch does not notice that the end of what it should have heard is missing. */
  async #checkLag(): Promise<void> {
    const before = this.#revision;
    const { streamInfo } = await this.#options.kv.status();
    if (streamInfo.state.last_seq <= before) return;
    await this.#options.clock.sleep(lagCheckMs / 2, this.#stopping.signal);
    if (this.#revision === before) this.restart();
  }
}
