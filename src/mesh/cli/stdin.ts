import type { CliContext } from "./context.ts";

/** All of standard input as text. */
export async function readStdin({ stdin }: Pick<CliContext, "stdin">): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}
