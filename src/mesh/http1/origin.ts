/**
 * All connections to one origin, and the posts that wait for one.
 *
 * O1  at most `connectionsMax` are open; posts beyond wait in a line, first come, first served.
 * O2  the connection used last is used next, so that the others can become too many and be closed.
 * O3  a post begins right after the loop's poll phase: what idle connections had said by that poll (closed, or
 *     bytes nobody asked for, which would be taken for the answer) has been heard before one of them is used.
 */
import type { Timer } from "../clock.ts";
import { Connection, type ConnectionOwner, type ConnectionParts, type Peer } from "./connection.ts";
import { ExchangeError } from "./exchange.ts";
import { Line } from "./line.ts";
import type { Carrier, PendingPost } from "./pending-post.ts";

export interface OriginParts extends ConnectionParts {
  readonly connectionsMax: number;
  /** Nothing is open and nobody waits: the origin can be forgotten. */
  readonly onEmpty: () => void;
}

export const waitingMax = 65_536;
const idleMsMax = 30_000;
/** A peer that closes after N seconds must not do so while a request is under way to it. */
const keepAliveMarginMs = 2000;
const sweepMs = 1000;

export class Origin implements ConnectionOwner, Carrier {
  readonly #peer: Peer;
  readonly #parts: OriginParts;
  readonly #connections = new Set<Connection>();
  /** The last one was used last. */
  readonly #idle: Connection[] = [];
  readonly #line = new Line<PendingPost>();
  #serving: NodeJS.Immediate | undefined;
  #sweeping: Timer | undefined;

  constructor(peer: Peer, parts: OriginParts) {
    this.#peer = peer;
    this.#parts = parts;
  }

  start(post: PendingPost): void {
    if (this.#line.length >= waitingMax) {
      post.fail(new ExchangeError("LINE_FULL", `${waitingMax} wait for a connection to the same host`));
      return;
    }
    post.carrier = this;
    this.#line.push(post);
    this.#serveSoon();
  }

  /** The post waits no longer. */
  release(post: PendingPost): void {
    this.#line.remove(post);
    this.#tellIfEmpty();
  }

  onIdle(connection: Connection, idleMs: number): void {
    const usableMs = Math.min(idleMs - keepAliveMarginMs, idleMsMax);
    if (usableMs <= 0) {
      connection.release();
      return;
    }
    connection.idleUntilMs = this.#parts.clock.monotonic() + usableMs;
    this.#idle.push(connection);
    this.#sweeping ??= this.#parts.clock.after(sweepMs, () => this.#sweep());
    if (this.#line.length > 0) this.#serveSoon();
  }

  onGone(connection: Connection): void {
    this.#connections.delete(connection);
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#line.length > 0) this.#serveSoon();
    this.#tellIfEmpty();
  }

  /** What is under way or waits fails with `error`. Resolves when all connections are closed. */
  async close(error: Error): Promise<void> {
    for (let post = this.#line.shift(); post !== undefined; post = this.#line.shift()) post.fail(error);
    await Promise.all([...this.#connections].map((connection) => connection.close(error)));
  }

  #serveSoon(): void {
    this.#serving ??= setImmediate(() => this.#serve());
  }

  #serve(): void {
    this.#serving = undefined;
    while (this.#line.length > 0) {
      const connection = this.#takeIdle() ?? this.#open();
      const post = connection && this.#line.shift();
      if (post === undefined) return;
      connection?.carry(post);
    }
  }

  #takeIdle(): Connection | undefined {
    const nowMs = this.#parts.clock.monotonic();
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.idleUntilMs > nowMs) return idle;
      idle.release();
    }
    return undefined;
  }

  #open(): Connection | undefined {
    if (this.#connections.size >= this.#parts.connectionsMax) return undefined;
    const connection = new Connection(this.#peer, this.#parts, this);
    this.#connections.add(connection);
    return connection;
  }

  /** Closes what has been idle for too long; goes on while anything is idle. */
  #sweep(): void {
    this.#sweeping = undefined;
    const nowMs = this.#parts.clock.monotonic();
    for (const idle of [...this.#idle]) if (idle.idleUntilMs <= nowMs) idle.release();
    if (this.#idle.length > 0) this.#sweeping = this.#parts.clock.after(sweepMs, () => this.#sweep());
  }

  #tellIfEmpty(): void {
    if (this.#connections.size > 0 || this.#line.length > 0) return;
    this.#sweeping?.cancel();
    this.#sweeping = undefined;
    this.#parts.onEmpty();
  }
}
