/**
 * The bytes all triggers of this process may have in hand together, so that many triggers with large events
 * cannot exhaust memory.
 *
 * B1  what is in hand never exceeds the budget, save one event that is larger than the whole budget.
 * B2  up to half the budget anyone may pull; above that only who holds less than an equal share.
 * B3  who was told to wait is called back when that may have changed, longest waiting first.
 */

/** Somebody with deliveries in hand: a trigger's worker. */
export interface BudgetHolder {
  /** There may be room again; must not throw. */
  refill(): void;
}

export const inHandBytesMax = 256 * 1024 * 1024;

export class ByteBudget {
  readonly #bytesMax: number;
  readonly #holders = new Map<BudgetHolder, number>();
  #waiting = new Set<BudgetHolder>();
  #used = 0;

  constructor(bytesMax = inHandBytesMax) {
    this.#bytesMax = bytesMax;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether the holder should ask for more (B2); when not, it is called back (B3). */
  mayPull(holder: BudgetHolder): boolean {
    const half = this.#bytesMax / 2;
    const share = this.#bytesMax / (2 * Math.max(1, this.#holders.size));
    const may =
      this.#used < half || (this.#used < this.#bytesMax && (this.#holders.get(holder) ?? 0) < share);
    if (!may) this.#waiting.add(holder);
    return may;
  }

  /** Takes the bytes of a delivery that has arrived; false when there is no room for it (B1). */
  take(holder: BudgetHolder, bytes: number): boolean {
    if (this.#used > 0 && this.#used + bytes > this.#bytesMax) return false;
    this.#used += bytes;
    this.#holders.set(holder, (this.#holders.get(holder) ?? 0) + bytes);
    return true;
  }

  give(holder: BudgetHolder, bytes: number): void {
    this.#used -= bytes;
    const left = (this.#holders.get(holder) ?? 0) - bytes;
    if (left > 0) this.#holders.set(holder, left);
    else this.#holders.delete(holder);
    this.#callBack();
  }

  /** The holder is gone for good. */
  forget(holder: BudgetHolder): void {
    this.#waiting.delete(holder);
  }

  #callBack(): void {
    if (this.#waiting.size === 0 || this.#used >= this.#bytesMax) return;
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const holder of waiting) holder.refill();
  }
}
