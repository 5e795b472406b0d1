/**
 * The runner: the process a function lives in. Started generic and early (the host's warm pool), it has its
 * HTTP listener and SDK ready and waits on the IPC channel to become one function, once.
 *
 * R1  It never outlives its host: a closed channel ends it, and so does the watchdog thread when the main
 *     thread is stuck.
 * R2  The function sees the environment it was given, nothing of the host's.
 * R3  Import or init failure: the reason goes to the host, then exit 1. A crash answers everyone 500 first.
 *
 * Protocol (host → runner): become {file, root, env, identity, token, timeoutMs, ingressUrl} · drain · ping.
 * (runner → host): booted · ready {port, importMs, initMs} · failed {stage, message} · pending {count} · pong.
 *
 * Without an IPC channel (a container on Kubernetes) it serves the bundle WEFT_FUNCTION_FILE on PORT.
 */
import { flushCompileCache } from "node:module";
import { Worker } from "node:worker_threads";
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { FunctionIdentity } from "./ctx.ts";
import { FunctionServer, type FunctionServerOptions } from "./function-server.ts";

interface Become {
  readonly kind: "become";
  readonly file: string;
  /** The working directory; the private temporary directory when it is gone. */
  readonly root: string | undefined;
  readonly env: Record<string, string>;
  readonly identity: FunctionIdentity;
  readonly token: string;
  readonly timeoutMs: number;
  readonly ingressUrl: string | undefined;
}

type FromHost = Become | { readonly kind: "drain" } | { readonly kind: "ping" };

const server = new FunctionServer({
  clock: systemClock,
  writeLine: (line) => process.stdout.write(`${line}\n`),
  onPending: (count) => void tell({ kind: "pending", count }),
});

process.on("uncaughtException", crash);
process.on("unhandledRejection", crash);
process.on("SIGTERM", stop);
process.on("SIGINT", stop);

if (process.send === undefined) await serveStandalone();
else await serveHost();

async function serveHost(): Promise<void> {
  process.on("disconnect", () => killGroup());
  const hostPid = Number(process.argv[2]);
  new Worker(new URL(`./watchdog${import.meta.url.slice(-3)}`, import.meta.url), {
    workerData: { hostPid },
    stdout: false,
    stderr: false,
  }).unref();
  const port = await server.listen(0, "127.0.0.1");
  process.on("message", (message: FromHost) => {
    if (message.kind === "become") void become(message, port);
    else if (message.kind === "drain") stop();
    else void tell({ kind: "pong" });
  });
  await tell({ kind: "booted" });
}

async function become(order: Become, port: number): Promise<void> {
  const { identity, token, timeoutMs, ingressUrl } = order;
  const env: Record<string, string> = { ...order.env, PORT: String(port), FUNC_PORT: String(port) };
  replaceEnvironment(env);
  process.setSourceMapsEnabled(true);
  try {
    process.chdir(order.root ?? env.TMPDIR ?? "/");
  } catch {
    process.chdir(env.TMPDIR ?? "/");
  }
  await load(order.file, { identity, token, timeoutMs, ingressUrl, environment: env }, port);
}

async function load(file: string, options: FunctionServerOptions, port: number): Promise<void> {
  try {
    const timing = await server.load(file, options);
    await tell({ kind: "ready", port, ...timing });
    // Otherwise the cache reaches the disk only at a normal exit.
    setImmediate(() => flushCompileCache());
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`${text}\n`);
    await tell({ kind: "failed", message: messageOf(error), stack: text });
    process.exit(1);
  }
}

/** The contract of a container: everything comes from the environment. */
async function serveStandalone(): Promise<void> {
  const { env } = process;
  const file = env.WEFT_FUNCTION_FILE;
  if (file === undefined) {
    process.stderr.write("Expected WEFT_FUNCTION_FILE to name the function's bundle\n");
    process.exit(1);
  }
  const port = await server.listen(Number(env.PORT ?? 8080), "0.0.0.0");
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) environment[name] = value;
  const identity = {
    namespace: env.WEFT_NAMESPACE ?? "default",
    name: env.K_SERVICE ?? "function",
    revision: env.K_REVISION ?? "",
    instance: env.HOSTNAME ?? String(process.pid),
  };
  const timeoutMs = Number(env.WEFT_TIMEOUT_SECONDS ?? 300) * 1000;
  const ingressUrl = env.WEFT_INGRESS_URL;
  await load(file, { identity, token: undefined, timeoutMs, ingressUrl, environment }, port);
}

/** R2. In place: author code and libraries hold on to the `process.env` object. */
function replaceEnvironment(env: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
}

let stopping = false;

function stop(): void {
  if (stopping) return;
  stopping = true;
  void server.drain().then(() => process.exit(0));
}

function crash(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  const exit = () => process.exit(1);
  // A caller that does not read its answer must not keep a broken process alive.
  systemClock.after(1000, exit);
  void server.failAll(error).then(exit, exit);
}

function killGroup(): void {
  try {
    process.kill(-process.pid, "SIGKILL");
  } catch {
    process.exit(1);
  }
}

function tell(message: Record<string, unknown>): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve();
    process.send(message, () => resolve());
  });
}
