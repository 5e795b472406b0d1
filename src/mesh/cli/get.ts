/** `weft get brokers|triggers|services [NAME]`: what there is, and whether it is ready. */
import { z } from "zod";
import { systemClock } from "../clock.ts";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { formatAge, formatTable } from "./table.ts";

const objectSchema = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    creationTimestamp: z.string().optional(),
  }),
  spec: z.looseObject({ broker: z.string().optional() }).optional(),
  status: z
    .looseObject({
      url: z.string().optional(),
      address: z.looseObject({ url: z.string().optional() }).optional(),
      subscriberUri: z.string().optional(),
      conditions: z
        .array(
          z.looseObject({
            type: z.string(),
            status: z.string(),
            reason: z.string().optional(),
            message: z.string().optional(),
          }),
        )
        .optional(),
    })
    .optional(),
});
type Shown = z.output<typeof objectSchema>;

export async function runGet(
  { kind, name }: { kind: string; name: string | undefined },
  options: ServerOptions & { namespace?: string; json?: boolean },
  context: CliContext,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const query = options.namespace === undefined ? "" : `?namespace=${encodeURIComponent(options.namespace)}`;
  const answer = await client.json(`/weft/v1/objects/${encodeURIComponent(kind)}${query}`);
  const { items } = z.object({ items: z.array(objectSchema) }).parse(answer);
  const found = name === undefined ? items : items.filter(({ metadata }) => metadata.name === name);
  if (name !== undefined && found.length === 0) {
    context.err(
      `No ${kind} named ${name}. There are: ${items.map((i) => i.metadata.name).join(", ") || "none"}\n`,
    );
    return 1;
  }
  if (options.json) context.out(`${JSON.stringify(name === undefined ? { items: found } : found[0])}\n`);
  else
    context.out(
      formatTable(["NAMESPACE", "NAME", "BROKER", "URL", "AGE", "READY", "REASON"], found.map(toRow)),
    );
  return 0;
}

function toRow({ metadata, spec, status }: Shown): string[] {
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  return [
    metadata.namespace ?? "",
    metadata.name,
    spec?.broker ?? "",
    status?.url ?? status?.address?.url ?? status?.subscriberUri ?? "",
    formatAge(metadata.creationTimestamp, systemClock.now()),
    ready?.status ?? "Unknown",
    ready?.status === "True" ? "" : [ready?.reason, ready?.message].filter(Boolean).join(": "),
  ];
}
