/** What is measured: weft in its production shape, started here, or any broker named by a URL. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { startNode, type Usage, usageOf } from "./process.ts";

export interface Target {
  /** Where events go in. */
  readonly url: string;
  /** Triggers as YAML documents; a foreign target has its own. */
  apply(yaml: string): Promise<void>;
  /** For the limit row; undefined for a foreign target. */
  readonly natsUrl: string | undefined;
  usage(): { readonly weft: Usage; readonly nats: Usage } | undefined;
  stop(): Promise<void>;
}

const statusSchema = z.object({
  nats: z.object({ pid: z.number() }),
  triggers: z.array(z.object({ ready: z.boolean() })),
});
const readyMs = 60_000;

export async function startWeft(manifests = ""): Promise<Target> {
  const dir = await mkdtemp(join(tmpdir(), "weft-bench-"));
  await writeFile(join(dir, "bench.yaml"), manifests);
  const weft = startNode("../src/mesh/main.ts", [
    "up",
    ...["--port", "0", "--control-port", "0", "--log-level", "error"],
    ...["--data-dir", join(dir, "data"), "--manifests", join(dir, "bench.yaml")],
    ...["--functions", join(dir, "functions")],
  ]);
  // What it prints is read and dropped: a full pipe would stop it.
  weft.child.stdout?.resume();
  const { events, control } = await poll(async () =>
    JSON.parse(await readFile(join(dir, "data", "mesh.json"), "utf8")),
  );
  const readStatus = async () => statusSchema.parse(await (await fetch(`${control}/weft/v1/status`)).json());
  const { pid: natsPid } = (await poll(readStatus)).nats;
  return {
    url: `${events}/default/default`,
    natsUrl: (await readFile(join(dir, "data", "nats.url"), "utf8")).trim(),
    async apply(yaml) {
      const response = await fetch(`${control}/weft/v1/apply`, { method: "POST", body: yaml });
      const { rejected } = (await response.json()) as { rejected: { message: string }[] };
      if (rejected[0] !== undefined) throw new Error(rejected[0].message);
      await poll(async () => {
        const { triggers } = await readStatus();
        return triggers.every(({ ready }) => ready) || undefined;
      });
    },
    usage: () => ({ weft: usageOf(weft.pid), nats: usageOf(natsPid) }),
    async stop() {
      await weft.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A broker that somebody else started; its triggers point at the sink's port already. */
export function foreignTarget(url: string): Target {
  return { url, natsUrl: undefined, apply: async () => {}, usage: () => undefined, stop: async () => {} };
}

async function poll<T>(attempt: () => Promise<T | undefined>): Promise<NonNullable<T>> {
  const end = Date.now() + readyMs;
  for (;;) {
    const value = await attempt().catch(() => undefined);
    if (value !== undefined && value !== null) return value;
    if (Date.now() > end) throw new Error("the target did not become ready");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
