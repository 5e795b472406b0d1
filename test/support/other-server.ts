/** A real nats-server with a configuration of the test's own. */
import { spawn } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CloseStack } from "../../src/mesh/lifecycle.ts";
import { natsBinary } from "./nats-binary.ts";
import { until } from "./until.ts";

export interface OtherServer {
  /** A folder of the test's own, for configuration and store. */
  readonly root: string;
  /** Lines besides address and store. */
  readonly config: string;
  readonly jetstream?: boolean;
}

/** Resolves to its port when it accepts clients; `closing` ends it. */
export async function startOtherServer(
  closing: CloseStack,
  { root, config, jetstream = true }: OtherServer,
): Promise<string> {
  const file = join(root, "other.conf");
  const store = jetstream ? `jetstream { store_dir: "${root}/js" }` : "";
  await writeFile(file, `listen: "127.0.0.1:-1"\nports_file_dir: "${root}"\n${store}\n${config}\n`);
  const child = spawn(natsBinary(), ["-c", file], { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  closing.defer("other server", async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const ports = await until(async () => {
    const name = (await readdir(root)).find((entry) => entry.endsWith(".ports"));
    return name && JSON.parse(await readFile(join(root, name), "utf8"));
  });
  return new URL(ports.nats[0]).port;
}
