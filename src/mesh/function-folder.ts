/**
 * The functions folder as this machine has it: which code each function has, where it runs, and what is wrong
 * with the ones that do not compile. A control plane follows it for as long as its term lasts.
 */
import { resolve } from "node:path";
import type { BundleProblem } from "./host/bundle.ts";
import {
  type FunctionChange,
  type FunctionWatcher,
  type WatchOptions,
  watchFunctions,
} from "./host/watch.ts";

/** Who keeps a Service for each function: told what there is and every change. */
export interface FunctionFollower {
  set(name: string, digest: string): void;
  remove(name: string): void;
}

export class FunctionFolder {
  readonly #dir: string;
  readonly #digests = new Map<string, string>();
  readonly #roots = new Map<string, string>();
  readonly #problems = new Map<string, readonly BundleProblem[]>();
  #follower: FunctionFollower | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Working directory of the code with this digest (`sha256:<hex>`). */
  rootOf(digest: string): string {
    return this.#roots.get(digest) ?? resolve(this.#dir);
  }

  /** Of the functions that do not compile now, by name. */
  get problems(): ReadonlyMap<string, readonly BundleProblem[]> {
    return this.#problems;
  }

  /** Resolves when the functions that are there were looked at; `onChange` hears after this has taken note. */
  watch(options: Omit<WatchOptions, "dir">): Promise<FunctionWatcher> {
    return watchFunctions({
      ...options,
      dir: this.#dir,
      onChange: (change) => {
        this.#note(change);
        options.onChange(change);
      },
    });
  }

  /** One follower at a time; the result lets it go. */
  follow(follower: FunctionFollower): () => void {
    for (const [name, digest] of this.#digests) follower.set(name, digest);
    this.#follower = follower;
    return () => {
      this.#follower = undefined;
    };
  }

  #note(change: FunctionChange): void {
    this.#problems.delete(change.name);
    switch (change.kind) {
      case "bundle":
        this.#roots.set(`sha256:${change.bundle.digest}`, change.bundle.root);
        this.#digests.set(change.name, change.bundle.digest);
        this.#follower?.set(change.name, change.bundle.digest);
        return;
      case "removed":
        this.#digests.delete(change.name);
        this.#follower?.remove(change.name);
        return;
      case "problems":
        this.#problems.set(change.name, change.problems);
        return;
    }
  }
}
