/** `weft doctor`: whether this machine and the running mesh are fine, and what to do where not. */
import { accessSync, constants } from "node:fs";
import { z } from "zod";
import { messageOf } from "../errors.ts";
import { cachedServerPath } from "../nats/find.ts";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
  readonly fix?: string;
}

const nodeMinimum = [22, 18] as const;
const statusSchema = z.looseObject({
  ready: z.boolean(),
  triggers: z.array(
    z.looseObject({ namespace: z.string(), name: z.string(), ready: z.boolean(), reason: z.string() }),
  ),
  rejected: z.array(z.looseObject({ file: z.string(), line: z.number(), message: z.string() })),
});

export async function runDoctor(
  options: ServerOptions & { json?: boolean },
  context: CliContext,
): Promise<ExitCode> {
  const checks = [checkNode(), checkNats(context), ...(await checkMesh(options, context))];
  if (options.json) context.out(`${JSON.stringify({ checks })}\n`);
  else
    for (const { name, ok, found, fix } of checks) {
      context.out(
        `${ok ? "ok  " : "BAD "} ${name}: ${found}${ok || fix === undefined ? "" : `\n     ${fix}`}\n`,
      );
    }
  return checks.every(({ ok }) => ok) ? 0 : 1;
}

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > nodeMinimum[0] || (major === nodeMinimum[0] && minor >= nodeMinimum[1]);
  return {
    name: "Node.js",
    ok,
    found: process.versions.node,
    fix: `Node ${nodeMinimum.join(".")} or newer runs the sources; \`npm install\` brings one for the scripts`,
  };
}

function checkNats({ environment, cacheDir }: CliContext): Check {
  if (environment.NATS_URL) return { name: "NATS", ok: true, found: "NATS_URL is set: nothing is started" };
  const cached = cachedServerPath(cacheDir);
  try {
    accessSync(cached, constants.X_OK);
    return { name: "NATS", ok: true, found: "a fetched nats-server is there" };
  } catch {
    return {
      name: "NATS",
      ok: true,
      found: "no nats-server fetched yet: the first start finds or fetches one",
    };
  }
}

async function checkMesh(options: ServerOptions, context: CliContext): Promise<Check[]> {
  try {
    const client = await connectClient(options, context);
    const status = statusSchema.parse(await client.json("/weft/v1/status"));
    return [
      {
        name: "mesh",
        ok: status.ready,
        found: status.ready ? "ready" : "not ready",
        fix: "See /readyz for the reason",
      },
      ...status.triggers
        .filter(({ ready }) => !ready)
        .map(({ namespace, name, reason }) => ({
          name: `trigger ${namespace}/${name}`,
          ok: false,
          found: reason,
          fix: `npx weft get triggers ${name}`,
        })),
      ...status.rejected.map(({ file, line, message }) => ({
        name: `${file}:${line}`,
        ok: false,
        found: message,
      })),
    ];
  } catch (error) {
    return [{ name: "mesh", ok: false, found: messageOf(error) }];
  }
}
