/** Lets the user change a text in the editor of their choice (VISUAL, EDITOR, else vi). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import type { CliContext } from "./context.ts";

/** Resolves to the text as it was saved. Rejects when the editor could not be run or failed. */
export async function editText(
  text: string,
  { name, context }: { name: string; context: CliContext },
): Promise<string> {
  const { VISUAL, EDITOR } = context.environment;
  const command = VISUAL || EDITOR || "vi";
  const dir = await mkdtemp(join(tmpdir(), "weft-edit-"));
  try {
    const file = join(dir, name);
    await writeFile(file, text, { mode: 0o600 });
    // The user's own words, which may hold arguments: a shell reads them, as git has it.
    const editor = spawn("/bin/sh", ["-c", `${command} "$0"`, file], {
      stdio: "inherit",
      env: context.environment,
    });
    const [code] = await once(editor, "exit");
    if (code !== 0) throw failed(command, `ended with ${code ?? "a signal"}`);
    return await readFile(file, "utf8");
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function failed(command: string, found: string): MeshError {
  return new MeshError("CONFIG_INVALID", {
    field: "EDITOR",
    found: `${command} ${found}`,
    fix: "Set EDITOR, or give the edited event with --edit FILE or --edit - (stdin)",
  });
}
