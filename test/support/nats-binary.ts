/** The nats-server that tests use: what global-setup found for a test run, or what a script outside of one found. */
import { inject } from "vitest";

let chosen: string | undefined;

/** For scripts that use the harness without vitest. */
export function useNatsBinary(path: string): void {
  chosen = path;
}

export function natsBinary(): string {
  return chosen ?? inject("natsBinary");
}
