#!/usr/bin/env node
/**
 * The `weft` command. Runs the sources when they are there (a checkout), else the compiled code (a package).
 * A Node.js too old for them is replaced by the one `npm install` brought into node_modules.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = new URL("./mesh/main.ts", import.meta.url);
const compiled = new URL("../dist/mesh/main.js", import.meta.url);
const localNode = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));

const isCheckout = existsSync(source);
const main = isCheckout ? source : compiled;
// The sources need type stripping; the compiled code needs what came with Node 22.
const isNodeEnough = isCheckout ? Boolean(process.features.typescript) : "withResolvers" in Promise;

if (isNodeEnough) {
  await import(main.href);
} else if (existsSync(localNode)) {
  runWith(localNode);
} else {
  const wanted = isCheckout ? "22.18 or newer, or `npm install` with its dev dependencies" : "22.12 or newer";
  process.stderr.write(`weft: Expected Node.js ${wanted}, found ${process.versions.node}\n`);
  process.exitCode = 1;
}

/** @param {string} node */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(main), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`weft: ${node} cannot be run: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)));
}
