/**
 * Where on an ext4 file system the state of consumers is kept.
 *
 * nats-server replaces the file with the state of every busy consumer up to ten times a second. ext4 puts folders,
 * and the files in them, near the folder they are made in; without a journal it then passes over every inode freed
 * there within the last minutes when it looks for one, so that the files of many triggers make each other slow.
 * In a folder that carries the attribute T (chattr(1), the "top of directory hierarchies") it spreads new folders
 * over the disk instead. Measured with many busy triggers: bench/README.md.
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { run } from "./spawn.ts";

const CHATTR_MS_MAX = 2000;

/**
 * Consumers that this stream gets from now on have their folders spread. Best effort: on other file systems, and
 * where there is no chattr, nothing changes.
 */
export async function spreadConsumers(store: string, stream: string, clock: Clock): Promise<void> {
  if (process.platform !== "linux") return;
  await run("chattr", ["+T", join(store, "jetstream", "$G", "streams", stream, "obs")], {
    clock,
    timeoutMs: CHATTR_MS_MAX,
  });
}
