/**
 * A line of things that each stand in one at most: first come, first served, and leaving from the middle costs as
 * little as from the front.
 *
 * Links in the things themselves, because a Set that much goes through makes a new table every so often, and the
 * dead tables, each with all that stood in it, keep one another alive until the next full garbage collection.
 */

export interface Linked<T> {
  /** Neighbours, for the line alone. */
  previous: T | undefined;
  next: T | undefined;
}

export class Line<T extends Linked<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#first;
  }

  push(item: T): void {
    item.previous = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.#length++;
  }

  shift(): T | undefined {
    const item = this.#first;
    if (item !== undefined) this.remove(item);
    return item;
  }

  /** `item` must be in this line. */
  remove(item: T): void {
    const { previous, next } = item;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    item.previous = undefined;
    item.next = undefined;
    this.#length--;
  }
}
