/**
 * The order of one ordered trigger (`weft.dev/order: key`), as a pure state machine: told what arrives, starts
 * and is settled, it says which delivery may start now. Times come in as arguments; nothing is done here.
 *
 * K1  per key one delivery runs at a time, and it is the lowest sequence the key still owes an outcome, also
 *     when that one is not in hand at the moment (backing off, or given back for want of place).
 * K2  keys do not wait for each other; what waits in hand is bounded per key and in all, the first of each key
 *     before the later; the rest is given back until about its turn.
 * K3  what the consumer handed out and this order does not know (a process before it had it, a connection lost
 *     it) comes back later than new events, so nothing starts until all of that is here (`returning`).
 * K4  nothing stays away longer than `awayMsMax` at a time, however long its back-off: so K3 ends soon.
 */
import { assert } from "../errors.ts";

/** Deliveries waiting in hand: per key, and in all. */
export const heldPerKeyMax = 100;
export const heldMax = 1000;
/** The longest an ordered delivery is given back for at once; a longer back-off is made of several. */
export const awayMsMax = 10_000;
const awayMsMin = 100;
/** While events come back from before, what has no place in hand stays away this long. */
const returningAwayMs = 2000;
/** Timers of the server and ours differ; a delivery this much too early is on time. */
const earlyMs = 20;
const paceShare = 0.2;

export interface NewArrival {
  readonly sequence: number;
  readonly key: string;
  /** Whether there is memory for it; when not it is known from now on, and given back. */
  readonly fits: boolean;
  readonly nowMs: number;
}

interface GivenBack {
  readonly afterMs: number;
}

export type Arrival =
  /** `instead` made place for it: that one leaves the hand. */
  | { readonly kind: "held"; readonly instead?: GivenBack & { readonly sequence: number } }
  | ({ readonly kind: "givenBack" } & GivenBack)
  /** It is in hand or running already; settling that one settles this one. */
  | { readonly kind: "duplicate" };

interface Entry {
  readonly sequence: number;
  readonly line: Line;
  state: "held" | "running" | "away";
  /** When it may be tried, by its back-off. */
  notBeforeMs: number;
  /** While away: when it is expected back. */
  dueMs: number;
  startedMs: number;
}

export interface HandLimits {
  readonly heldMax: number;
  readonly heldPerKeyMax: number;
}

/** Everything a key owes, lowest sequence first. */
interface Line {
  readonly key: string;
  readonly entries: Entry[];
  running: Entry | undefined;
  /** Those in hand, lowest sequence first. */
  readonly held: Entry[];
}

export class KeyOrder {
  readonly #entries = new Map<number, Entry>();
  readonly #lines = new Map<string, Line>();
  /** Lines whose first entry is in hand and may start, longest ready first. */
  readonly #ready = new Set<Line>();
  #returning = true;
  #missing = Number.POSITIVE_INFINITY;
  #upTo = Number.POSITIVE_INFINITY;
  readonly #limits: HandLimits;
  #held = 0;
  /** How long an attempt takes, a moving average. */
  #paceMs = 0;

  constructor(limits: HandLimits = { heldMax, heldPerKeyMax }) {
    this.#limits = limits;
  }

  /** K3; true from the beginning, until `recount` knows better. */
  get returning(): boolean {
    return this.#returning;
  }

  /** How many are still to come back. */
  get missing(): number {
    return this.#missing;
  }

  /** Waiting in hand. */
  get held(): number {
    return this.#held;
  }

  /** Keys whose next delivery could start at once. */
  get ready(): number {
    return this.#ready.size;
  }

  /** Every delivery known and not settled. */
  get unsettled(): number {
    return this.#entries.size;
  }

  arrive({ sequence, key, fits, nowMs }: NewArrival): Arrival {
    const known = this.#entries.get(sequence);
    if (known !== undefined && known.state !== "away") return { kind: "duplicate" };
    const entry = known ?? this.#insert(sequence, key);
    if (entry.notBeforeMs - nowMs > earlyMs) {
      entry.dueMs = nowMs + Math.min(entry.notBeforeMs - nowMs, awayMsMax);
      return { kind: "givenBack", afterMs: entry.dueMs - nowMs };
    }
    const arrival = this.#place(entry, { fits, nowMs });
    this.#refresh(entry.line);
    if (known === undefined && sequence <= this.#upTo) this.#cameBack();
    return arrival;
  }

  /** Takes the next delivery that may start; it is running from now on. */
  next(nowMs: number): number | undefined {
    for (const line of this.#ready) {
      const entry = line.entries[0];
      assert(entry?.state === "held" && line.running === undefined, "a ready line starts with a held entry");
      this.#ready.delete(line);
      this.#release(entry);
      entry.state = "running";
      entry.startedMs = nowMs;
      line.running = entry;
      return entry.sequence;
    }
    return undefined;
  }

  /** A running delivery got its outcome. */
  settled(sequence: number, nowMs: number): void {
    const entry = this.#entries.get(sequence);
    if (entry === undefined) return;
    if (entry.state === "running") this.#notePace(nowMs - entry.startedMs);
    this.#remove(entry);
  }

  /** A running delivery is to be tried again after `afterMs`; it was given back for no longer than K4 allows. */
  backOff(sequence: number, { afterMs, nowMs }: { afterMs: number; nowMs: number }): void {
    const entry = this.#entries.get(sequence);
    if (entry === undefined) return;
    if (entry.line.running === entry) entry.line.running = undefined;
    entry.state = "away";
    entry.notBeforeMs = nowMs + afterMs;
    entry.dueMs = nowMs + Math.min(afterMs, awayMsMax);
    this.#refresh(entry.line);
  }

  /** Deliveries may have been lost on their way here (K3). */
  suspect(): void {
    this.#returning = true;
    this.#missing = Number.POSITIVE_INFINITY;
    this.#upTo = Number.POSITIVE_INFINITY;
    this.#ready.clear();
  }

  /**
   * The consumer's own count: how many it has handed out and not got acked, up to which sequence. Acks and
   * deliveries still on their way only make more seem missing; a later count corrects that.
   */
  recount({ unacked, upTo }: { unacked: number; upTo: number }): void {
    if (!this.#returning) return;
    let known = 0;
    for (const sequence of this.#entries.keys()) if (sequence <= upTo) known++;
    this.#upTo = upTo;
    this.#missing = unacked - known;
    if (this.#missing <= 0) this.endReturning();
  }

  /** Nothing more of before is going to come back (K3). */
  endReturning(): void {
    this.#returning = false;
    this.#missing = 0;
    for (const line of this.#lines.values()) this.#refresh(line);
  }

  /** First entries of their keys that should have come back `graceMs` ago, at most `max`. */
  overdue({ nowMs, graceMs, max }: { nowMs: number; graceMs: number; max: number }): number[] {
    const sequences: number[] = [];
    for (const { entries } of this.#lines.values()) {
      const first = entries[0];
      if (first?.state !== "away" || first.dueMs + graceMs > nowMs) continue;
      sequences.push(first.sequence);
      if (sequences.length === max) break;
    }
    return sequences;
  }

  /** An overdue delivery exists and will come: ask again later. */
  expectAgain(sequence: number, nowMs: number): void {
    const entry = this.#entries.get(sequence);
    if (entry?.state === "away") entry.dueMs = nowMs;
  }

  /** An overdue delivery will never come: its message is gone, or was settled elsewhere. */
  forget(sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (entry?.state === "away") this.#remove(entry);
  }

  #insert(sequence: number, key: string): Entry {
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { key, entries: [], running: undefined, held: [] };
      this.#lines.set(key, line);
    }
    const entry: Entry = { sequence, line, state: "away", notBeforeMs: 0, dueMs: 0, startedMs: 0 };
    line.entries.splice(placeOf(line.entries, sequence), 0, entry);
    this.#entries.set(sequence, entry);
    return entry;
  }

  #remove(entry: Entry): void {
    const { line, sequence } = entry;
    if (entry.state === "held") this.#release(entry);
    if (line.running === entry) line.running = undefined;
    this.#entries.delete(sequence);
    line.entries.splice(placeOf(line.entries, sequence), 1);
    this.#refresh(line);
    if (line.entries.length === 0) this.#lines.delete(line.key);
  }

  #place(entry: Entry, { fits, nowMs }: { fits: boolean; nowMs: number }): Arrival {
    if (fits && this.#hasPlace(entry)) {
      this.#take(entry);
      return { kind: "held" };
    }
    const last = fits ? lastAfter(entry) : undefined;
    if (last === undefined) return { kind: "givenBack", afterMs: this.#sendAway(entry, nowMs) };
    this.#take(entry);
    return { kind: "held", instead: { sequence: last.sequence, afterMs: this.#sendAway(last, nowMs) } };
  }

  #take(entry: Entry): void {
    const { held } = entry.line;
    entry.state = "held";
    held.splice(placeOf(held, entry.sequence), 0, entry);
    this.#held++;
  }

  #release({ line, sequence }: Entry): void {
    line.held.splice(placeOf(line.held, sequence), 1);
    this.#held--;
  }

  /** Answers for how long. */
  #sendAway(entry: Entry, nowMs: number): number {
    if (entry.state === "held") this.#release(entry);
    const afterMs = this.#untilItsTurn(entry, nowMs);
    entry.state = "away";
    entry.dueMs = nowMs + afterMs;
    return afterMs;
  }

  #refresh(line: Line): void {
    const may = !this.#returning && line.running === undefined && line.entries[0]?.state === "held";
    if (may) this.#ready.add(line);
    else this.#ready.delete(line);
  }

  #cameBack(): void {
    if (!this.#returning) return;
    this.#missing--;
    if (this.#missing <= 0) this.endReturning();
  }

  /** K2. What can start at once needs no place: the window bounds it. */
  #hasPlace(entry: Entry): boolean {
    const { line } = entry;
    const canStart = !this.#returning && line.running === undefined && line.entries[0] === entry;
    const { heldMax, heldPerKeyMax } = this.#limits;
    return canStart || (this.#held < heldMax && (this.#returning || line.held.length < heldPerKeyMax));
  }

  #untilItsTurn({ line, sequence }: Entry, nowMs: number): number {
    if (this.#returning) return returningAwayMs;
    // Back when half of what the key may have in hand is used up: then it neither starves nor overflows.
    const ahead = Math.max(0, placeOf(line.entries, sequence) - this.#limits.heldPerKeyMax / 2);
    const first = line.entries[0];
    const firstMs = first?.state === "away" ? Math.max(first.notBeforeMs, first.dueMs) - nowMs : 0;
    const runningMs = line.running === undefined ? 0 : nowMs - line.running.startedMs;
    const turnMs = firstMs + ahead * Math.max(this.#paceMs, runningMs);
    return Math.round(Math.min(Math.max(turnMs, awayMsMin), awayMsMax));
  }

  #notePace(ms: number): void {
    this.#paceMs = this.#paceMs === 0 ? ms : this.#paceMs + paceShare * (ms - this.#paceMs);
  }
}

/** What the key has in hand that comes after the entry: the last of it. */
function lastAfter({ line, sequence }: Entry): Entry | undefined {
  const last = line.held.at(-1);
  return last !== undefined && last.sequence > sequence ? last : undefined;
}

/** Index of the first entry with at least this sequence. */
function placeOf(entries: readonly Entry[], sequence: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle]?.sequence ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
