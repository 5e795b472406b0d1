/** The sources as architecture tests see them: what each file imports, and its code without comments and types. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface SourceFile {
  /** From the project folder: `src/mesh/event/event.ts`. */
  readonly path: string;
  readonly text: string;
  /** Without comments and types, strings in double quotes. */
  readonly code: string;
  /** Project files it imports, types included. */
  readonly imports: readonly string[];
  /** Project files it starts in a process or thread of their own. */
  readonly starts: readonly string[];
}

/** All `.ts` and `.js` files below a folder of the project, in order. */
export function readSources(folder: string): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.[jt]s$/.test(name))
    .sort()
    .map((name) => readSource(join(folder, name)));
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), "utf8");
  const { code } = transformSync(text, { loader: "ts", target: "esnext", legalComments: "none" });
  const resolve = (specifier: string) => relative(root, join(root, dirname(path), specifier));
  const imports = [
    ...text.matchAll(/^(?:import|export)\s(?:[^;"]*?\sfrom\s)?"(\.[^"]+)"/gm),
    ...text.matchAll(/\bimport\(\s*"(\.[^"]+)"\s*\)/g),
  ].map((match) => resolve(match[1] ?? ""));
  // `new URL(`../sdk/server${extension}`, import.meta.url)`
  const starts = [...text.matchAll(/new URL\(`(\.[^`$]+)\$\{/g)].map((match) => resolve(`${match[1]}.ts`));
  return { path, text, code, imports, starts };
}
