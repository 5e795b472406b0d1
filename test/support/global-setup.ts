/**
 * Makes sure, once per run and before any test, that this machine has a NATS server: found or fetched exactly as
 * the product does, so that test files never fetch at the same time.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { systemClock } from "../../src/mesh/clock.ts";
import { findServer } from "../../src/mesh/nats/find.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The nats-server every test uses. */
    natsBinary: string;
  }
}

export default async function setup(project: TestProject): Promise<void> {
  const { binary } = await findServer({
    clock: systemClock,
    path: process.env.PATH ?? "",
    cacheDir: process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
    say: (line) => process.stderr.write(`${line}\n`),
  });
  project.provide("natsBinary", binary);
}
