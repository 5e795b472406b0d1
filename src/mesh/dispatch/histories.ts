/**
 * What this process remembers of deliveries it gave back, so that their return needs no look into the journal.
 *
 * H1  the memory is the latest only when nobody else had the delivery in between: then the server has counted
 *     exactly one more delivery since.
 * H2  otherwise the journal decides, save that it never makes an attempt unmade that this process knows of (its
 *     record may have failed, or a replica may not have it yet).
 */
import type { History } from "./parcel.ts";

const historiesMax = 50_000;

interface Remembered {
  readonly history: History;
  readonly deliveryCount: number;
}

export class Histories {
  readonly #remembered = new Map<number, Remembered>();

  /** H1, H2. Rejects as `readJournal` does. */
  async recall(
    key: number,
    { deliveryCount, readJournal }: { deliveryCount: number; readJournal: () => Promise<History> },
  ): Promise<History> {
    const known = this.#remembered.get(key);
    if (known !== undefined && known.deliveryCount + 1 === deliveryCount) return known.history;
    const read = await readJournal();
    return known !== undefined && isAhead(known.history, read) ? known.history : read;
  }

  remember(key: number, history: History, deliveryCount: number): void {
    if (this.#remembered.size >= historiesMax) {
      // The journal remembers what is dropped here.
      const oldest = this.#remembered.keys().next().value;
      if (oldest !== undefined) this.#remembered.delete(oldest);
    }
    this.#remembered.set(key, { history, deliveryCount });
  }

  forget(key: number): void {
    this.#remembered.delete(key);
  }
}

function isAhead(a: History, b: History): boolean {
  if (a.failed !== b.failed) return a.failed > b.failed;
  return a.sinkFailed > b.sinkFailed;
}
