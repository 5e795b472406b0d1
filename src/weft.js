#!/usr/bin/env node
/**
 * The `weft` command. Runs the sources when they are there (a checkout), else the compiled code (a package).
 * A Node.js too old for them is replaced by the one `npm install` brought into node_modules.
 *
 * Plain JavaScript, so that what strips TypeScript of its types need not even be loaded: what was stripped and
 * compiled once is read back from the user's cache, which halves the start and saves a fifth of the memory.
 */
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = new URL("./mesh/main.ts", import.meta.url);
const compiled = new URL("../dist/mesh/main.js", import.meta.url);
const localNode = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));

const isCheckout = existsSync(source);
const main = isCheckout ? source : compiled;
// The sources need type stripping; the compiled code needs what came with Node 22.
const isNodeEnough = isCheckout ? Boolean(process.features.typescript) : "withResolvers" in Promise;

if (isNodeEnough) {
  const cacheDir = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  // For this process and its workers. Where it cannot be written, nothing is kept.
  process.env.NODE_COMPILE_CACHE ??= join(cacheDir, "weft", "compile-cache");
  module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  await import(main.href);
} else if (existsSync(localNode) && realpathSync(localNode) !== realpathSync(process.execPath)) {
  runWith(localNode);
} else {
  const wanted = isCheckout ? "22.18 or newer, or `npm install` with its dev dependencies" : "22.12 or newer";
  process.stderr.write(`weft: Expected Node.js ${wanted}, found ${process.versions.node}\n`);
  process.exitCode = 1;
}

/** @param {string} node */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`weft: ${node} cannot be run: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)));
}
