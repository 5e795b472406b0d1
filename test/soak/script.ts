/** The frame of a soak script: what it says, what it started, and how it ends. */
import { CloseStack } from "../../src/mesh/lifecycle.ts";

/** What the script starts; closed at its end, however that comes. */
export const started = new CloseStack((name, error) => say(`stopping ${name}: ${error}`));

export function say(line: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)}  ${line}\n`);
}

/** Runs the script to its end, and ends the process: 0 when it resolved, else 1. */
export async function run(script: () => Promise<void>): Promise<never> {
  let code = 1;
  try {
    await script();
    code = 0;
  } catch (error) {
    say(`FAILED: ${error instanceof Error ? error.stack : error}`);
  } finally {
    await started.close();
  }
  process.exit(code);
}
