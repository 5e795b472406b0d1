/** `weft tail`: follows what happens to events, one line each, until stopped. */
import type { JournalRecord } from "../journal/record.ts";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { formatRecord } from "./record-line.ts";

export async function runTail(
  options: ServerOptions & { json?: boolean },
  context: CliContext,
): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const response = await client.request("/weft/v1/tail");
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of response.body ?? []) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        // The mesh of this version wrote it; it is shown, nothing is decided by it.
        context.out(options.json ? `${line}\n` : `${formatRecord(JSON.parse(line) as JournalRecord)}\n`);
      }
    }
  } catch {
    if (context.stop.aborted) return 0;
    context.err("the mesh has gone away\n");
    return 1;
  }
  return 0;
}
