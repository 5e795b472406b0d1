#!/usr/bin/env node
/**
 * The `weft` command. Runs the compiled code when there is some (a published package), else the TypeScript
 * sources as they are; a Node.js that cannot strip types is replaced by the one in node_modules.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const compiled = new URL("../dist/mesh/main.js", import.meta.url);
const source = new URL("./mesh/main.ts", import.meta.url);
const localNode = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));

if (existsSync(source) && !process.features.typescript && existsSync(localNode)) {
  const child = spawn(localNode, [fileURLToPath(source), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)));
} else {
  await import((existsSync(source) ? source : compiled).href);
}
