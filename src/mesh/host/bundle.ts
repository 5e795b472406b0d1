/**
 * A function's source becomes one immutable file named by its content, so that an old version can be started
 * again from its bundle, even from zero, while the source is broken. Faults of the source are values.
 *
 * `import "weft"` is the SDK; packages the function does not find itself come from weft's own dependencies.
 * `import.meta` and `__dirname` keep meaning where the source is.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type BuildFailure, type BuildOptions, build, type Message, stop } from "esbuild";

export interface Bundle {
  /** SHA-256 of the bundle, hex. */
  readonly digest: string;
  /** `<dir>/<digest>.mjs`. */
  readonly file: string;
  /** The function's folder: its working directory. */
  readonly root: string;
}

export interface BundleProblem {
  /** Absolute when it is known. */
  readonly file: string;
  /** 1-based; 0 when unknown. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export type BundleResult = (
  | { readonly ok: true; readonly bundle: Bundle }
  | { readonly ok: false; readonly problems: readonly BundleProblem[] }
) & {
  /** Local source files that went in (as far as known): a change of one of them means a new bundle. */
  readonly inputs: readonly string[];
};

const extensions = [".ts", ".mts", ".js", ".mjs", ".cjs"];
const sdkFile = fileURLToPath(new URL(`../sdk/sdk${import.meta.url.slice(-3)}`, import.meta.url));
const weftModules = nodeModulesAbove(dirname(sdkFile));

/** Compiles a function file, or a folder with an index file or a `func.yaml` project, into `dir`. */
export async function bundleFunction(source: string, dir: string): Promise<BundleResult> {
  const entry = await findEntry(resolve(source));
  if (entry === undefined) {
    const message = `Expected a file, or a folder with index.ts or index.js, at ${source}`;
    return { ok: false, problems: [{ file: source, line: 0, column: 0, message }], inputs: [] };
  }
  try {
    const result = await build(buildOptions(entry, dir));
    const code = result.outputFiles[0]?.contents ?? new Uint8Array();
    const inputs = Object.keys(result.metafile.inputs)
      .filter((name) => name !== "<stdin>" && !name.includes("node_modules/"))
      .map((name) => resolve(entry.root, name));
    const digest = createHash("sha256").update(code).digest("hex");
    const file = join(dir, `${digest}.mjs`);
    await writeOnce(file, code);
    return { ok: true, bundle: { digest, file, root: entry.root }, inputs };
  } catch (error) {
    const problems = toProblems(error, entry);
    return { ok: false, problems, inputs: [entry.file, ...problems.map((problem) => problem.file)] };
  }
}

/** Ends esbuild's helper process; the next bundle starts a new one. */
export async function stopBundler(): Promise<void> {
  await stop();
}

interface Entry {
  readonly file: string;
  readonly root: string;
  /** An unmodified `func create` project. */
  readonly isKnativeProject: boolean;
}

async function findEntry(source: string): Promise<Entry | undefined> {
  const found = await stat(source).catch(() => undefined);
  if (found?.isFile()) return { file: source, root: dirname(source), isKnativeProject: false };
  if (!found?.isDirectory()) return undefined;
  const isKnativeProject = existsSync(join(source, "func.yaml"));
  for (const name of isKnativeProject ? ["index", "src/index"] : ["index"]) {
    const file = extensions.map((extension) => join(source, name + extension)).find(existsSync);
    if (file !== undefined) return { file, root: source, isKnativeProject };
  }
  return undefined;
}

function buildOptions({ file, root, isKnativeProject }: Entry, dir: string) {
  const url = JSON.stringify(pathToFileURL(file).href);
  const options = {
    ...(isKnativeProject
      ? {
          stdin: {
            // The name under which sdk/handler.ts looks for a project whose handler takes (context, event).
            contents: `export * as knativeProject from ${JSON.stringify(file)};`,
            resolveDir: root,
          },
        }
      : { entryPoints: [file] }),
    absWorkingDir: root,
    outfile: join(dir, `${basename(file, extname(file))}.mjs`),
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "inline",
    // The sources are there to be read; carrying them would double the bundle and slow down every start.
    sourcesContent: false,
    nodePaths: weftModules,
    alias: { weft: sdkFile },
    banner: {
      js: `import { createRequire as weftCreateRequire } from "node:module"; const require = weftCreateRequire(${url});`,
    },
    define: {
      "import.meta.url": url,
      "import.meta.filename": JSON.stringify(file),
      "import.meta.dirname": JSON.stringify(dirname(file)),
      __filename: JSON.stringify(file),
      __dirname: JSON.stringify(dirname(file)),
    },
    // A native addon is loaded from where it is.
    plugins: [
      {
        name: "native-addons",
        setup({ onResolve }) {
          onResolve({ filter: /\.node$/ }, ({ path, resolveDir }) => ({
            path: resolve(resolveDir, path),
            external: true,
          }));
        },
      },
    ],
    metafile: true,
    write: false,
    logLevel: "silent",
  } as const satisfies BuildOptions;
  return options;
}

/** Complete or not there: a bundle is renamed into place. */
async function writeOnce(file: string, code: Uint8Array): Promise<void> {
  if (existsSync(file)) return;
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, code);
  await rename(temporary, file);
}

function toProblems(error: unknown, entry: Entry): BundleProblem[] {
  if (!isBuildFailure(error)) throw error;
  return error.errors.map(({ text, location }: Message) => ({
    file: location === null ? entry.file : resolve(entry.root, location.file),
    line: location?.line ?? 0,
    // esbuild counts columns from 0, editors from 1.
    column: location === null ? 0 : location.column + 1,
    message: text,
  }));
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && "errors" in error && Array.isArray(error.errors);
}

function nodeModulesAbove(folder: string): string[] {
  const here = join(folder, "node_modules");
  const above = dirname(folder) === folder ? [] : nodeModulesAbove(dirname(folder));
  return existsSync(here) ? [here, ...above] : above;
}
