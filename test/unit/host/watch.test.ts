import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { type FunctionChange, type FunctionWatcher, watchFunctions } from "../../../src/mesh/host/watch.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { until } from "../../support/until.ts";

let dir: string;
let changes: FunctionChange[];
let watcher: FunctionWatcher | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "weft-watch-"));
  changes = [];
});
afterEach(async () => {
  await watcher?.close();
  watcher = undefined;
  await rm(dir, { recursive: true });
});

async function put(name: string, text: string): Promise<void> {
  const file = join(dir, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

async function start(): Promise<void> {
  watcher = await watchFunctions({
    dir: join(dir, "functions"),
    bundleDir: join(dir, "bundles"),
    clock: systemClock,
    log: silentLog,
    onChange: (change) => changes.push(change),
  });
}

const summary = () => changes.map(({ name, kind }) => `${name} ${kind}`);
const last = (kind: FunctionChange["kind"]) => until(() => changes.at(-1)?.kind === kind && changes.at(-1));

describe("watchFunctions", () => {
  test("must report what is there, and only functions", async () => {
    await put("functions/hello.ts", "export default () => {};");
    await put("functions/world/index.js", "export default () => {};");
    await put("functions/fn/func.yaml", "name: fn");
    await put("functions/fn/index.js", "module.exports = () => {};");
    for (const name of ["_lib.ts", ".hidden.ts", "hello.test.ts", "types.d.ts", "README.md", "lib/word.ts"]) {
      await put(`functions/${name}`, "");
    }
    await start();
    expect(summary()).toEqual(["fn bundle", "hello bundle", "world bundle"]);
  });

  test.each(["My_Func.ts", "1st.ts", `${"a".repeat(64)}.ts`])(
    "must refuse the name of %s and say why",
    async (file) => {
      await put(`functions/${file}`, "export default () => {};");
      await start();
      expect(changes).toMatchObject([
        { kind: "problems", problems: [{ message: expect.stringContaining("DNS label") }] },
      ]);
    },
  );

  test("must report a change of an imported file, a fault, its cure, and a removal, each once", async () => {
    await put("functions/hello.ts", `import { word } from "../shared/word.ts"; export default () => word;`);
    await put("shared/word.ts", `export const word = "a";`);
    await start();
    await put("shared/word.ts", `export const word = "bb";`);
    await until(() => changes.length === 2);
    await put("functions/hello.ts", "export default () => {");
    const broken = await last("problems");
    expect(broken).toMatchObject({ problems: [{ file: join(dir, "functions/hello.ts"), line: 1 }] });
    await put("functions/hello.ts", "export default () => 3;");
    await last("bundle");
    await rm(join(dir, "functions/hello.ts"));
    await last("removed");
    expect(summary()).toEqual([
      "hello bundle",
      "hello bundle",
      "hello problems",
      "hello bundle",
      "hello removed",
    ]);
  });

  test("must take a file renamed into place as one change, and an unchanged bundle as none", async () => {
    await put("functions/hello.ts", "export default () => 1;");
    await start();
    await put("functions/.hello.ts.swp", "export default () => 2;");
    await rename(join(dir, "functions/.hello.ts.swp"), join(dir, "functions/hello.ts"));
    await until(() => changes.length === 2);
    await put("functions/hello.ts", "export default () => 2;\n");
    await watcher?.scan();
    await watcher?.scan();
    expect(summary()).toEqual(["hello bundle", "hello bundle"]);
  });

  test("must find a folder that appears later", async () => {
    await start();
    await put("functions/hello.ts", "export default () => 1;");
    await last("bundle");
    expect(summary()).toEqual(["hello bundle"]);
  });
});
