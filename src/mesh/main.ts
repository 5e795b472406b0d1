/** The executable: hands argv, environment, streams and signals to the CLI, and its exit code to the shell. */
import { homedir } from "node:os";
import { join } from "node:path";
import { runCli } from "./cli/cli.ts";

const stop = new AbortController();
let signals = 0;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // Asked twice: whoever asks does not want to wait for the drain.
    if (++signals > 1) process.exit(130);
    stop.abort();
  });
}
// A reader that went away (`weft get … | head`) is no fault of ours.
process.stdout.on("error", () => process.exit(0));

process.exitCode = await runCli(process.argv.slice(2), {
  environment: process.env,
  workingDirectory: process.cwd(),
  cacheDir: process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
  stdin: process.stdin,
  stdout: process.stdout,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTerminal: process.stdout.isTTY === true,
  stop: stop.signal,
});
process.exit();
