/** `weft apply -f FILE|-`: brings manifests into the running mesh. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { readStdin } from "./stdin.ts";

const resultSchema = z.object({
  applied: z.array(
    z.object({ kind: z.string(), namespace: z.string(), name: z.string(), result: z.string() }),
  ),
  rejected: z.array(
    z.object({ file: z.string(), line: z.number(), kind: z.string(), name: z.string(), message: z.string() }),
  ),
});

export async function runApply(
  options: ServerOptions & { filename: readonly string[]; json?: boolean },
  context: CliContext,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  let failed = false;
  for (const file of options.filename) {
    const text = file === "-" ? await readStdin(context) : await readFile(file, "utf8");
    const answer = await client.json("/weft/v1/apply", { method: "POST", body: text });
    const { applied, rejected } = resultSchema.parse(answer);
    failed ||= rejected.length > 0;
    if (options.json) {
      context.out(`${JSON.stringify({ file, applied, rejected })}\n`);
      continue;
    }
    for (const { kind, namespace, name, result } of applied) {
      context.out(`${kind.toLowerCase()} ${namespace}/${name} ${result}\n`);
    }
    for (const { line, kind, name, message } of rejected) {
      context.err(`${file}:${line}: ${kind} ${name} rejected: ${message}\n`);
    }
  }
  return failed ? 1 : 0;
}
