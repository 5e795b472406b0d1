/** Things that are started and must be closed: one idempotent `close()` each, closed in reverse order. */
export interface Closeable {
  /** Idempotent. Resolves when nothing of the thing is left running. */
  close(): Promise<void>;
}

/** Collects what was started so that a half-finished start, or a stop, closes all of it in reverse. */
export class CloseStack implements Closeable {
  #entries: { name: string; close: () => Promise<void> }[] = [];
  #closing: Promise<void> | undefined;
  readonly #onError: (name: string, error: unknown) => void;

  constructor(onError: (name: string, error: unknown) => void = () => {}) {
    this.#onError = onError;
  }

  /** Registers the close of something just started and hands it back. */
  use<T extends Closeable>(name: string, thing: T): T {
    this.#entries.push({ name, close: () => thing.close() });
    return thing;
  }

  /** Registers a bare cleanup step. */
  defer(name: string, close: () => Promise<void> | void): void {
    this.#entries.push({ name, close: async () => close() });
  }

  /** Runs a start that registers here; when it fails, all of it is closed before that is told. */
  async start<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    for (const entry of this.#entries.reverse()) {
      try {
        await entry.close();
      } catch (error) {
        this.#onError(entry.name, error);
      }
    }
  }
}

/** Keeps one callback failing or forgotten promise from going unseen: rejections go to `onError`. */
export function background(promise: Promise<unknown>, onError: (error: unknown) => void): void {
  promise.catch(onError);
}
