/**
 * Manifests on disk: the `.yaml`, `.yml` and `.json` files of the roots, each a file or a folder with everything
 * below it. Folders whose name begins with a dot are skipped, and so is a folder that holds a file `.weftignore`
 * (manifests meant for a cluster only).
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ManifestText } from "./manifests.ts";

const EXTENSIONS = [".yaml", ".yml", ".json"];
const IGNORE_FILE = ".weftignore";
/** A folder this deep is a mistake (a link to itself). */
const DEPTH_MAX = 16;

export interface ManifestFiles {
  /** By path, sorted. */
  readonly files: readonly ManifestText[];
  /** Roots that cannot be read now: nothing is known about what they declare. */
  readonly unreadable: readonly string[];
}

export async function readManifestFiles(roots: readonly string[]): Promise<ManifestFiles> {
  const files: ManifestText[] = [];
  const unreadable: string[] = [];
  for (const root of roots) {
    try {
      const isFolder = (await stat(root)).isDirectory();
      for (const file of isFolder ? await listFolder(root, 0) : [root]) {
        files.push({ file, text: await readFile(file, "utf8") });
      }
    } catch {
      // A file that went while it was read comes or goes with the next scan.
      unreadable.push(root);
    }
  }
  return { files: files.sort((a, b) => (a.file < b.file ? -1 : 1)), unreadable };
}

async function listFolder(folder: string, depth: number): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  if (depth > DEPTH_MAX || entries.some(({ name }) => name === IGNORE_FILE)) return [];
  const found: string[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) found.push(...(await listFolder(path, depth + 1)));
    else if (EXTENSIONS.some((extension) => entry.name.endsWith(extension))) found.push(path);
  }
  return found;
}
