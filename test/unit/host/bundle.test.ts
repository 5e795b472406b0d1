import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Bundle, bundleFunction, stopBundler } from "../../../src/mesh/host/bundle.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "weft-bundle-"));
});
afterEach(() => rm(dir, { recursive: true }));
afterAll(stopBundler);

async function put(name: string, text: string): Promise<string> {
  const file = join(dir, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  return file;
}

async function bundle(source: string): Promise<Bundle> {
  const result = await bundleFunction(source, join(dir, "bundles"));
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.bundle;
}

async function load(source: string): Promise<Record<string, unknown>> {
  return import(/* @vite-ignore */ pathToFileURL((await bundle(source)).file).href);
}

describe("bundleFunction", () => {
  test("must name the bundle by its content, and leave older ones alone", async () => {
    const source = await put("hello.ts", "export default (): number => 1;");
    const first = await bundle(source);
    expect(first.file).toBe(join(dir, "bundles", `${first.digest}.mjs`));
    expect(first.digest).toMatch(/^[0-9a-f]{64}$/);
    expect((await bundle(source)).digest).toBe(first.digest);
    const old = await readFile(first.file, "utf8");
    await put("hello.ts", "export default (): number => 2;");
    expect((await bundle(source)).digest).not.toBe(first.digest);
    expect(await readFile(first.file, "utf8")).toBe(old);
  });

  test("must bundle a folder, its imports and packages, CommonJS ones too", async () => {
    await put(
      "hello/index.ts",
      `
      import { Reject } from "weft";
      import { CloudEvent } from "cloudevents";
      import { word } from "./lib/word.ts";
      export default () => [new Reject(word).message, new CloudEvent({ type: "t", source: "/s" }).specversion];`,
    );
    await put("hello/lib/word.ts", `export const word = "imported";`);
    const module = (await load(join(dir, "hello"))) as { default: () => unknown };
    expect(module.default()).toEqual(["imported", "1.0"]);
  });

  test("must keep the meaning of import.meta and __dirname", async () => {
    const source = await put(
      "where.ts",
      "export const at = [import.meta.url, import.meta.dirname, import.meta.filename, __dirname];",
    );
    expect((await load(source)).at).toEqual([pathToFileURL(source).href, dir, source, dir]);
  });

  test("must wrap a func create project so that its handler can be told", async () => {
    await put("fn/func.yaml", "name: fn\nruntime: node\n");
    await put("fn/index.js", "const handle = () => 1; module.exports = { handle };");
    const module = await load(join(dir, "fn"));
    expect(module.knativeProject).toMatchObject({ default: { handle: expect.any(Function) } });
  });

  test("must list its local sources, not packages", async () => {
    const source = await put("hello.ts", `import "./lib.ts"; import "cloudevents"; export default () => {};`);
    await put("lib.ts", "");
    const { inputs } = await bundleFunction(source, join(dir, "bundles"));
    expect(inputs.filter((input) => input.startsWith(dir)).sort()).toEqual([source, join(dir, "lib.ts")]);
    expect(inputs.some((input) => input.includes("node_modules"))).toBe(false);
  });

  test.each([
    {
      name: "a syntax error",
      text: "export default () => {\n  const = 1;\n};",
      line: 2,
      column: 9,
      message: "Expected identifier",
    },
    {
      name: "a missing import",
      text: '\nimport { a } from "./gone.ts";\nexport default a;',
      line: 2,
      column: 19,
      message: "Could not resolve",
    },
  ])("must report $name with file, line and column", async ({ text, line, column, message }) => {
    const file = await put("broken.ts", text);
    const result = await bundleFunction(file, join(dir, "bundles"));
    expect(result).toMatchObject({
      ok: false,
      problems: [{ file, line, column, message: expect.stringContaining(message) }],
    });
  });

  test("must report a problem of an imported file there", async () => {
    const source = await put("hello.ts", `import "./lib/bad.ts"; export default () => {};`);
    const bad = await put("lib/bad.ts", "let x = ;");
    expect(await bundleFunction(source, join(dir, "bundles"))).toMatchObject({
      ok: false,
      problems: [{ file: bad, line: 1 }],
      inputs: expect.arrayContaining([source, bad]),
    });
  });

  test("must say so when there is no function", async () => {
    const result = await bundleFunction(join(dir, "nothing"), join(dir, "bundles"));
    expect(result).toMatchObject({
      ok: false,
      problems: [{ message: expect.stringContaining("Expected a file") }],
    });
  });
});
