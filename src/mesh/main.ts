/** The executable: hands argv, environment, streams and signals to the CLI, and its exit code to the shell. */
import { homedir } from "node:os";
import { join } from "node:path";
import { runCli } from "./cli/cli.ts";
import { systemClock } from "./clock.ts";

/** Signals this close together are one: npm passes on the Ctrl-C that the terminal has sent already. */
const oneRequestMs = 500;

const stop = new AbortController();
let askedAtMs: number | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    const nowMs = systemClock.monotonic();
    askedAtMs ??= nowMs;
    // Asked twice: whoever asks does not want to wait for the drain.
    if (nowMs - askedAtMs > oneRequestMs) process.exit(130);
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
