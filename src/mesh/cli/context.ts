import type { Writable } from "node:stream";

/** What a command gets from the outside world; main.ts fills it in, tests bring their own. */
export interface CliContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  readonly cacheDir: string;
  readonly stdin: AsyncIterable<string | Uint8Array>;
  /** For output that may be more than the reader takes at once. */
  readonly stdout: Writable;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isTerminal: boolean;
  /** Aborts when the user wants out. */
  readonly stop: AbortSignal;
}

/** 0 ok · 1 failed · 2 wrong use (DESIGN §10). */
export type ExitCode = 0 | 1 | 2;
