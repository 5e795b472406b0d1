/** Talks to a running mesh: the one named by --server or WEFT_SERVER, else the one recorded in the data dir. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { MeshError, messageOf } from "../errors.ts";
import type { CliContext } from "./context.ts";

/** What `weft up` records in the data directory while it runs. */
export const endpointsFile = "mesh.json";
export const endpointsSchema = z.object({
  /** Empty when that process takes no events and knows no address that does. */
  events: z.url().or(z.literal("")),
  control: z.url(),
  pid: z.int(),
});
export type Endpoints = z.output<typeof endpointsSchema>;

export interface ServerOptions {
  readonly server?: string | undefined;
  readonly dataDir?: string | undefined;
}

const problemSchema = z.looseObject({ detail: z.string().optional(), code: z.string().optional() });

export class Client {
  readonly #control: string;
  readonly #stop: AbortSignal;

  constructor(control: string, stop: AbortSignal) {
    this.#control = control.replace(/\/+$/, "");
    this.#stop = stop;
  }

  async json(path: string, init: RequestInit = {}): Promise<unknown> {
    return (await this.request(path, init)).json();
  }

  /** Rejects with SERVER_UNREACHABLE, or with what the server said. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.#control + path, { signal: this.#stop, ...init });
    } catch (cause) {
      throw unreachable(this.#control, cause);
    }
    if (response.ok) return response;
    const problem = problemSchema.safeParse(await response.json().catch(() => ({})));
    throw new Error(problem.data?.detail ?? `${this.#control}${path} answered ${response.status}`);
  }

  /** Where events go in. */
  async endpoints(): Promise<{ events: string }> {
    const { events } = z.object({ events: z.string() }).parse(await this.json("/weft/v1/endpoints"));
    if (events !== "") return { events };
    throw new MeshError("NOT_FOUND", {
      field: "events port",
      found: `${this.#control} runs without the ingress role`,
      fix: "Ask a process with that role, or start this one with --public-url",
    });
  }
}

export async function connectClient(options: ServerOptions, context: CliContext): Promise<Client> {
  const named = options.server ?? context.environment.WEFT_SERVER;
  if (named !== undefined && named !== "") return new Client(named, context.stop);
  const dataDir = join(
    context.workingDirectory,
    options.dataDir ?? context.environment.WEFT_DATA_DIR ?? ".weft",
  );
  try {
    const recorded = JSON.parse(await readFile(join(dataDir, endpointsFile), "utf8"));
    return new Client(endpointsSchema.parse(recorded).control, context.stop);
  } catch {
    return new Client("http://127.0.0.1:8090", context.stop);
  }
}

function unreachable(control: string, cause: unknown): MeshError {
  const reason =
    cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
  return new MeshError("SERVER_UNREACHABLE", {
    expected: `a running mesh at ${control}`,
    found: reason,
    fix: "Start one with `npm start`, or name another with --server or WEFT_SERVER",
    cause,
  });
}
