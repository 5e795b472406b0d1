/** `weft serve`: one process of a mesh that several share on one NATS, until it is stopped. */
import { parseConfig } from "../config.ts";
import { MeshError } from "../errors.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { runMesh } from "./up.ts";

/** Resolves when the process has been stopped. Rejects with CONFIG_INVALID when no NATS is named. */
export async function runServe(
  flags: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<ExitCode> {
  const config = parseConfig(flags, context.environment);
  if (config.natsUrl === undefined) {
    throw new MeshError("CONFIG_INVALID", {
      field: "--nats-url",
      expected: "the NATS server or cluster that all processes of the mesh share",
      found: "none",
      fix: "Give it with --nats-url nats://host:4222 or NATS_URL; `weft up` brings a NATS of its own",
    });
  }
  return runMesh(config, context, { roles: new Set(config.roles), shared: true });
}
