/** `weft status`: the mesh at a glance; `--json` prints `/weft/v1/status` as it is. */
import { z } from "zod";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { formatTable } from "./table.ts";

const statusSchema = z.looseObject({
  version: z.string(),
  pid: z.number(),
  ready: z.boolean(),
  nats: z.looseObject({ url: z.string(), version: z.string(), owned: z.boolean() }),
  brokers: z.array(
    z.looseObject({
      namespace: z.string(),
      name: z.string(),
      events: z.number(),
      bytes: z.number(),
      unmatched: z.number(),
    }),
  ),
  triggers: z.array(
    z.looseObject({
      namespace: z.string(),
      name: z.string(),
      ready: z.boolean(),
      reason: z.string(),
      pending: z.number(),
      inFlight: z.number(),
      delivered: z.number(),
      filtered: z.number(),
      retried: z.number(),
      dead: z.number(),
    }),
  ),
  functions: z.array(
    z.looseObject({
      namespace: z.string(),
      name: z.string(),
      instances: z.array(z.looseObject({ pid: z.number(), state: z.string() })),
    }),
  ),
  rejected: z.array(
    z.looseObject({
      file: z.string(),
      line: z.number(),
      kind: z.string(),
      name: z.string(),
      message: z.string(),
    }),
  ),
});
type Status = z.output<typeof statusSchema>;

export async function runStatus(
  options: ServerOptions & { json?: boolean },
  context: CliContext,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const answer = await client.json("/weft/v1/status");
  context.out(options.json ? `${JSON.stringify(answer)}\n` : formatStatus(statusSchema.parse(answer)));
  return 0;
}

function formatStatus(status: Status): string {
  const { version, pid, ready, nats } = status;
  const head = `weft ${version} (pid ${pid}) ${ready ? "ready" : "not ready"}, NATS ${nats.version} at ${nats.url}\n`;
  const brokers = formatTable(
    ["BROKER", "EVENTS", "BYTES", "UNMATCHED"],
    status.brokers.map((b) => [`${b.namespace}/${b.name}`, `${b.events}`, `${b.bytes}`, `${b.unmatched}`]),
  );
  const triggers = formatTable(
    ["TRIGGER", "READY", "PENDING", "IN FLIGHT", "DELIVERED", "FILTERED", "RETRIED", "DEAD"],
    status.triggers.map((t) => [
      `${t.namespace}/${t.name}`,
      t.ready ? "True" : `False ${t.reason}`,
      ...[t.pending, t.inFlight, t.delivered, t.filtered, t.retried, t.dead].map(String),
    ]),
  );
  const functions = formatTable(
    ["FUNCTION", "INSTANCES"],
    status.functions.map((f) => [
      `${f.namespace}/${f.name}`,
      f.instances.map(({ pid: id, state }) => `${id} ${state}`).join(", ") || "at zero, wakes on an event",
    ]),
  );
  const rejected = status.rejected.map(
    (r) => `rejected  ${r.file}:${r.line}  ${r.kind} ${r.name}: ${r.message}\n`,
  );
  return [head, brokers, triggers, functions, rejected.join("")].filter((part) => part !== "").join("\n");
}
