/**
 * The warm pool: generic processes that wait to become a function, so that waking one up costs an import,
 * not a boot. `take` always hands one out; an empty pool means a fresh process.
 */
import type { Closeable } from "../lifecycle.ts";
import { Instance, type InstanceOptions } from "./instance.ts";

export class Pool implements Closeable {
  readonly #size: number;
  readonly #options: InstanceOptions;
  #warm: Instance[] = [];
  #all = new Set<Instance>();
  #closed = false;

  constructor(size: number, options: InstanceOptions) {
    this.#size = size;
    this.#options = options;
  }

  /** The one that waits longest; the caller owns it from now on and calls `refill` when it is busy no more. */
  take(): Instance {
    this.#warm = this.#warm.filter((instance) => instance.state.kind === "warm");
    return this.#warm.shift() ?? this.#spawn();
  }

  /** Idempotent. Apart from `take`, so that a boot does not compete with the import somebody waits for. */
  refill(): void {
    if (this.#closed) return;
    this.#warm = this.#warm.filter((instance) => instance.state.kind === "warm");
    while (this.#warm.length < this.#size) this.#warm.push(this.#spawn());
  }

  /** Resolves when every pooled process waits for orders. */
  async booted(): Promise<void> {
    await Promise.all(this.#warm.map((instance) => instance.booted()));
  }

  /** Kills what is still warm, and waits until everything this pool ever started is gone. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const instance of this.#warm) instance.kill();
    await Promise.all([...this.#all].map((instance) => instance.exited));
  }

  /** Ends everything at once, handed out or not. */
  killAll(): void {
    for (const instance of this.#all) instance.kill();
  }

  #spawn(): Instance {
    const instance = new Instance(this.#options);
    this.#all.add(instance);
    void instance.exited.then(() => this.#all.delete(instance));
    return instance;
  }
}
