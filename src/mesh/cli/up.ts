/** `weft up`: the whole mesh on this machine, until it is stopped. */
import { rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { systemClock } from "../clock.ts";
import { allRoles, type Config, parseConfig } from "../config.ts";
import type { BundleProblem } from "../host/bundle.ts";
import { createLog } from "../log.ts";
import { type Mesh, type MeshOptions, startMesh } from "../mesh.ts";
import { type WorkerCount, workerCount } from "../workers/count.ts";
import { type Endpoints, endpointsFile } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { formatFunctionLine } from "./function-line.ts";
import { LinePrinter } from "./line-printer.ts";
import { version } from "./version.ts";

/** Resolves when the mesh has been stopped. Rejects with a MeshError when it cannot start. */
export async function runUp(
  flags: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<ExitCode> {
  return runMesh(parseConfig(flags, context.environment), context, {
    roles: new Set(allRoles),
    shared: false,
  });
}

/** Runs this process's part of a mesh until it is stopped. */
export async function runMesh(
  config: Config,
  context: CliContext,
  part: Pick<MeshOptions, "roles" | "shared">,
): Promise<ExitCode> {
  const { workingDirectory } = context;
  const workers = workerCount({ asked: config.workers, ...part, cores: availableParallelism() });
  const startedMs = systemClock.monotonic();
  const printer = new LinePrinter(context.out, systemClock);
  const say = (line: string) => printer.line(line);
  const mesh = await startMesh({
    config,
    version,
    clock: systemClock,
    log: createLog(config.logLevel),
    path: context.environment.PATH ?? "",
    cacheDir: context.cacheDir,
    say,
    onFunctionLine: (line) => say(formatFunctionLine(line, { nowMs: systemClock.now(), workingDirectory })),
    onFunctionChange: ({ name, problems }) => {
      for (const problem of problems) say(formatProblem(name, problem, workingDirectory));
    },
    onRecord: (record) => printer.record(record),
    onRecordsMissed: (count) => printer.missed(count),
    signal: context.stop,
    workers: workers.count,
    ...part,
  });
  const endpoints = join(mesh.dataDir, endpointsFile);
  await writeFile(endpoints, JSON.stringify(endpointsOf(mesh)), { mode: 0o600 });
  const seconds = ((systemClock.monotonic() - startedMs) / 1000).toFixed(1);
  printer.flush();
  context.out(
    part.shared
      ? sharedBanner(mesh, part.roles, { workers, seconds, workingDirectory })
      : banner(mesh, config, { workers, seconds, workingDirectory }),
  );
  for (const { file, line, kind, name, message } of mesh.rejected()) {
    if (kind !== "Function") say(`rejected  ${file}:${line}  ${kind} ${name}: ${message}`);
  }
  await new Promise<void>((resolve) => {
    if (context.stop.aborted) resolve();
    context.stop.addEventListener("abort", () => resolve(), { once: true });
  });
  say("stopping: attempts in flight may finish, then everything that was started is stopped");
  await mesh.close();
  await rm(endpoints, { force: true });
  say("stopped; what is undelivered is kept and goes on with the next start");
  printer.flush();
  return 0;
}

function endpointsOf({ eventsUrl, controlUrl }: Mesh): Endpoints {
  return { events: eventsUrl, control: controlUrl, pid: process.pid };
}

interface BannerFacts {
  readonly workers: WorkerCount;
  readonly seconds: string;
  readonly workingDirectory: string;
}

function banner(mesh: Mesh, config: Config, { workers, seconds, workingDirectory }: BannerFacts): string {
  const url = mesh.eventsUrl.replace("127.0.0.1", "localhost");
  const data = relative(workingDirectory, mesh.dataDir) || ".";
  const nats = `${mesh.nats.safeUrl} (${mesh.nats.owned ? "embedded" : "yours"}, ${mesh.nats.version})`;
  return `
weft ${version} is ready (${seconds} s)

  events     ${url}/<namespace>/<broker>
  control    ${mesh.controlUrl}   /readyz /weft/v1/status
  functions  ${config.functions}/ (watched)    manifests  ${config.manifests.join(", ")} (watched)
  data       ${data}/    NATS ${nats}
  workers    ${workers.count} ${workers.why}

  Send an order through the example pipeline, from another terminal:

    curl -i ${url}/default/default \\
      -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shop' -H 'ce-type: com.example.order.placed' \\
      -H 'content-type: application/json' \\
      -d '{"order":"A-1001","customer":"Ada","lines":[{"sku":"TEA-100","quantity":2}]}'

  See what is going on: npx weft status     Stop: Ctrl-C

`;
}

function sharedBanner(
  mesh: Mesh,
  roles: MeshOptions["roles"],
  { workers, seconds, workingDirectory }: BannerFacts,
): string {
  const lines = [
    `\nweft ${version} is ready (${seconds} s)\n`,
    `  roles      ${[...roles].join(", ")}`,
    ...(roles.has("ingress") ? [`  events     ${mesh.eventsUrl}/<namespace>/<broker>`] : []),
    `  control    ${mesh.controlUrl}   /readyz /weft/v1/status`,
    `  data       ${relative(workingDirectory, mesh.dataDir) || "."}/    NATS ${mesh.nats.safeUrl} (${mesh.nats.version})`,
    `  workers    ${workers.count} ${workers.why}\n`,
    "  The other processes of this mesh: npx weft status --json     Stop: Ctrl-C\n\n",
  ];
  return lines.join("\n");
}

function formatProblem(name: string, { file, line, column, message }: BundleProblem, from: string): string {
  const place = line === 0 ? relative(from, file) : `${relative(from, file)}:${line}:${column}`;
  return `function ${name} does not compile: ${place}: ${message} (the version before goes on serving)`;
}
