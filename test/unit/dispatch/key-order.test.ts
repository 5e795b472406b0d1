import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  awayMsMax,
  type HandLimits,
  heldMax,
  heldPerKeyMax,
  KeyOrder,
} from "../../../src/mesh/dispatch/key-order.ts";

/** An order that has nothing to wait for from before. */
function freshOrder(limits?: HandLimits): KeyOrder {
  const order = new KeyOrder(limits);
  order.recount({ unacked: 0, upTo: 0 });
  return order;
}

function arrive(order: KeyOrder, sequence: number, key: string, nowMs = 0) {
  return order.arrive({ sequence, key, fits: true, nowMs });
}

/** Everything that may start now, started. */
function startAll(order: KeyOrder, nowMs = 0): number[] {
  const started: number[] = [];
  for (let next = order.next(nowMs); next !== undefined; next = order.next(nowMs)) started.push(next);
  return started;
}

describe("KeyOrder", () => {
  test("next starts one delivery per key, and keys side by side", () => {
    const order = freshOrder();
    for (const [sequence, key] of [
      [1, "a"],
      [2, "a"],
      [3, "b"],
      [4, "a"],
      [5, "c"],
    ] as const) {
      expect(arrive(order, sequence, key)).toEqual({ kind: "held" });
    }
    expect(startAll(order)).toEqual([1, 3, 5]);
    order.settled(1, 5);
    expect(startAll(order)).toEqual([2]);
  });

  test("next lets a key in back-off wait for its lowest sequence, and no other key", () => {
    const order = freshOrder();
    arrive(order, 1, "a");
    startAll(order);
    order.backOff(1, { afterMs: 3000, nowMs: 0 });
    arrive(order, 2, "a");
    arrive(order, 3, "b");
    expect(startAll(order)).toEqual([3]);
    arrive(order, 1, "a", 3000);
    expect(startAll(order, 3000)).toEqual([1]);
    order.settled(1, 3001);
    expect(startAll(order, 3001)).toEqual([2]);
  });

  test("arrive gives back what comes before its back-off is over, for a part of it at a time", () => {
    const order = freshOrder();
    arrive(order, 1, "a");
    startAll(order);
    order.backOff(1, { afterMs: awayMsMax + 4000, nowMs: 0 });
    expect(arrive(order, 1, "a", awayMsMax)).toEqual({ kind: "givenBack", afterMs: 4000 });
    expect(arrive(order, 1, "a", awayMsMax + 4000)).toEqual({ kind: "held" });
    expect(startAll(order, awayMsMax + 4000)).toEqual([1]);
  });

  test("arrive ignores a second delivery of what is in hand or running", () => {
    const order = freshOrder();
    arrive(order, 1, "a");
    expect(arrive(order, 1, "a")).toEqual({ kind: "duplicate" });
    startAll(order);
    expect(arrive(order, 1, "a")).toEqual({ kind: "duplicate" });
  });

  test("arrive keeps at most a key's share in hand, and the rest comes back in turn", () => {
    const order = freshOrder();
    for (let sequence = 1; sequence <= heldPerKeyMax + 1; sequence++) arrive(order, sequence, "a");
    startAll(order);
    expect(arrive(order, heldPerKeyMax + 2, "a").kind).toBe("held");
    const late = arrive(order, heldPerKeyMax + 3, "a");
    expect(late.kind).toBe("givenBack");
    expect(arrive(order, heldPerKeyMax + 4, "b").kind).toBe("held");
    for (let sequence = 1; sequence <= heldPerKeyMax + 2; sequence++) {
      order.settled(sequence, sequence);
      startAll(order, sequence);
    }
    // Not in hand, yet the first of its key: what comes after it waits.
    arrive(order, heldPerKeyMax + 5, "a", 500);
    expect(startAll(order, 500)).toEqual([]);
    arrive(order, heldPerKeyMax + 3, "a", 600);
    expect(startAll(order, 600)).toEqual([heldPerKeyMax + 3]);
  });

  test("arrive makes place for what comes before the last in hand", () => {
    const order = freshOrder({ heldMax: 10, heldPerKeyMax: 2 });
    arrive(order, 1, "a");
    startAll(order);
    for (const sequence of [2, 3, 4, 5, 6]) arrive(order, sequence, "a");
    order.settled(1, 1);
    startAll(order, 1);
    arrive(order, 5, "a", 1000);
    expect(arrive(order, 6, "a", 1000).kind).toBe("givenBack");
    const arrival = arrive(order, 4, "a", 1000);
    expect(arrival).toMatchObject({ kind: "held", instead: { sequence: 5 } });
    expect(order.held).toBe(2);
  });

  test("arrive keeps the hand bounded over all keys", () => {
    const order = freshOrder();
    // Two events per key: the second of each waits.
    for (let key = 0; key < heldMax + 50; key++) {
      arrive(order, 2 * key + 1, `${key}`);
      startAll(order);
      arrive(order, 2 * key + 2, `${key}`);
    }
    expect(order.held).toBe(heldMax);
  });

  test("arrive keeps the place in line of what there was no memory for", () => {
    const order = freshOrder();
    expect(order.arrive({ sequence: 1, key: "a", fits: false, nowMs: 0 }).kind).toBe("givenBack");
    arrive(order, 2, "a");
    expect(startAll(order)).toEqual([]);
    arrive(order, 1, "a", 300);
    expect(startAll(order, 300)).toEqual([1]);
  });

  test("recount holds everything until what was handed out before is back", () => {
    const order = new KeyOrder();
    order.recount({ unacked: 2, upTo: 10 });
    arrive(order, 11, "a");
    arrive(order, 12, "b");
    arrive(order, 9, "b");
    expect(startAll(order)).toEqual([]);
    expect(order.missing).toBe(1);
    arrive(order, 4, "a");
    expect(startAll(order).sort((a, b) => a - b)).toEqual([4, 9]);
  });

  test("recount does not take newer deliveries for those that are missing", () => {
    const order = new KeyOrder();
    order.recount({ unacked: 1, upTo: 10 });
    arrive(order, 11, "a");
    order.recount({ unacked: 1, upTo: 10 });
    expect(startAll(order)).toEqual([]);
    arrive(order, 4, "a");
    expect(startAll(order)).toEqual([4]);
  });

  test("next lets what comes again wait while a later one of its key runs", () => {
    const order = freshOrder();
    arrive(order, 2, "a");
    startAll(order);
    // The server was killed and has forgotten that 1 was acked.
    arrive(order, 1, "a");
    expect(startAll(order)).toEqual([]);
    order.settled(2, 1);
    expect(startAll(order)).toEqual([1]);
  });

  test("recount ends the waiting when the consumer has less out than before", () => {
    const order = new KeyOrder();
    order.recount({ unacked: 1, upTo: 10 });
    arrive(order, 11, "a");
    order.recount({ unacked: 1, upTo: 11 });
    expect(startAll(order)).toEqual([11]);
  });

  test("suspect waits for what was lost on its way", () => {
    const order = freshOrder();
    arrive(order, 1, "a");
    startAll(order);
    order.suspect();
    order.settled(1, 0);
    arrive(order, 3, "a");
    // 2 was delivered and never arrived.
    order.recount({ unacked: 2, upTo: 3 });
    expect(startAll(order)).toEqual([]);
    arrive(order, 2, "a");
    expect(startAll(order)).toEqual([2]);
  });

  test("overdue names the first of a key that does not come back, forget lets the key go on", () => {
    const order = freshOrder();
    arrive(order, 1, "a");
    startAll(order);
    order.backOff(1, { afterMs: 1000, nowMs: 0 });
    arrive(order, 2, "a");
    expect(order.overdue({ nowMs: 5000, graceMs: 5000, max: 10 })).toEqual([]);
    expect(order.overdue({ nowMs: 6000, graceMs: 5000, max: 10 })).toEqual([1]);
    order.expectAgain(1, 6000);
    expect(order.overdue({ nowMs: 6000, graceMs: 5000, max: 10 })).toEqual([]);
    order.forget(1);
    expect(startAll(order, 6000)).toEqual([2]);
    order.settled(2, 6001);
    expect(order.unsettled).toBe(0);
  });

  test("next starts a key's deliveries in stream order whatever is lost, repeated, late or crashed", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant("pull" as const) },
      { weight: 4, arbitrary: fc.constant("start" as const) },
      { weight: 4, arbitrary: fc.constant("ack" as const) },
      { weight: 2, arbitrary: fc.constant("fail" as const) },
      { weight: 2, arbitrary: fc.constant("wait" as const) },
      { weight: 1, arbitrary: fc.constant("full" as const) },
      { weight: 1, arbitrary: fc.constant("lose" as const) },
      { weight: 1, arbitrary: fc.constant("crash" as const) },
    );
    const steps = fc.array(fc.tuple(step, fc.nat(1000)), { minLength: 50, maxLength: 300 });
    const keys = fc.array(fc.constantFrom(...keyNames), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(keys, steps, (keys, steps) => {
        const world = new World(keys);
        for (const [step, choice] of steps) world.step(step, choice);
        world.drain();
        expect(world.acked.size).toBe(keys.length);
      }),
      { numRuns: 300 },
    );
  });
});

type Step = "pull" | "start" | "ack" | "fail" | "wait" | "full" | "lose" | "crash";

const keyNames = ["a", "b", "c"];
/** What can start at once may come on top of it, one per key. */
const tight: HandLimits = { heldMax: 6, heldPerKeyMax: 3 };

/** A consumer as JetStream keeps it, and a dispatcher that follows the order; checks K1 at every start. */
class World {
  readonly acked = new Set<number>();
  readonly #keys: readonly string[];
  /** Handed out and not acked: when it is delivered again. */
  readonly #out = new Map<number, number>();
  readonly #running = new Set<number>();
  #order = freshOrder(tight);
  #delivered = 0;
  #now = 0;

  constructor(keys: readonly string[]) {
    this.#keys = keys;
  }

  step(step: Step, choice: number): void {
    switch (step) {
      case "pull":
        this.#pull({ choice, fits: true, isLost: false });
        break;
      case "full":
        this.#pull({ choice, fits: false, isLost: false });
        break;
      case "lose":
        this.#order.suspect();
        this.#pull({ choice, fits: true, isLost: true });
        this.#recount();
        break;
      case "start":
        this.#start();
        break;
      case "ack":
      case "fail":
        this.#finish(step, choice);
        break;
      case "wait":
        this.#now += choice * 10;
        this.#recount();
        break;
      case "crash":
        for (const [sequence, at] of this.#out) {
          if (at === Number.POSITIVE_INFINITY) this.#out.set(sequence, this.#now + 12_000);
        }
        this.#running.clear();
        this.#order = new KeyOrder(tight);
        this.#recount();
        break;
    }
  }

  drain(): void {
    for (let turn = 0; this.acked.size < this.#keys.length; turn++) {
      if (turn > 2000) throw new Error("the order never lets everything through");
      this.#now += 500;
      for (let i = 0; i <= this.#keys.length; i++) this.#pull({ choice: i, fits: true, isLost: false });
      this.#recount();
      for (let i = 0; i < this.#keys.length; i++) this.#start();
      while (this.#running.size > 0) this.#finish("ack", 0);
    }
  }

  #pull({ choice, fits, isLost }: { choice: number; fits: boolean; isLost: boolean }): void {
    const due = [...this.#out].filter(([, at]) => at <= this.#now).map(([sequence]) => sequence);
    const again = due[choice % Math.max(1, due.length)];
    const sequence = again ?? (this.#delivered < this.#keys.length ? ++this.#delivered : undefined);
    if (sequence === undefined) return;
    this.#out.set(sequence, isLost ? this.#now + 12_000 : Number.POSITIVE_INFINITY);
    if (isLost) return;
    const key = this.#keys[sequence - 1] ?? "";
    const arrival = this.#order.arrive({ sequence, key, fits, nowMs: this.#now });
    if (arrival.kind === "givenBack") this.#giveBack({ ...arrival, sequence });
    if (arrival.kind === "held" && arrival.instead !== undefined) this.#giveBack(arrival.instead);
    expect(this.#order.held).toBeLessThanOrEqual(tight.heldMax + keyNames.length);
  }

  #giveBack({ sequence, afterMs }: { sequence: number; afterMs: number }): void {
    expect(afterMs).toBeLessThanOrEqual(awayMsMax);
    this.#out.set(sequence, this.#now + afterMs);
  }

  #start(): void {
    const sequence = this.#order.next(this.#now);
    if (sequence === undefined) return;
    const key = this.#keys[sequence - 1];
    const owed = [...this.#out.keys()].filter((other) => this.#keys[other - 1] === key);
    expect(sequence).toBe(Math.min(...owed));
    expect([...this.#running].filter((other) => this.#keys[other - 1] === key)).toEqual([]);
    this.#running.add(sequence);
  }

  #finish(how: "ack" | "fail", choice: number): void {
    const running = [...this.#running];
    const sequence = running[choice % Math.max(1, running.length)];
    if (sequence === undefined) return;
    this.#running.delete(sequence);
    if (how === "ack") {
      this.#out.delete(sequence);
      this.acked.add(sequence);
      this.#order.settled(sequence, this.#now);
      return;
    }
    const afterMs = choice * 30;
    this.#out.set(sequence, this.#now + Math.min(afterMs, awayMsMax));
    this.#order.backOff(sequence, { afterMs, nowMs: this.#now });
  }

  #recount(): void {
    this.#order.recount({ unacked: this.#out.size, upTo: this.#delivered });
  }
}
