/** WHERE programs are: the search of a shell, over a PATH given as a value. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";

/** Every executable of that name on the PATH, first match first; relative PATH entries are skipped. */
export async function findOnPath(name: string, path: string): Promise<string[]> {
  const found: string[] = [];
  for (const dir of new Set(path.split(delimiter))) {
    if (!isAbsolute(dir)) continue;
    const file = join(dir, name);
    if (await isExecutable(file)) found.push(file);
  }
  return found;
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
