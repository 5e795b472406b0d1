/**
 * The limit of every delivery: undici alone, POSTing to the sink over so many connections. A process of its own:
 *
 *     node bench/bare-push.ts '{"url":"http://127.0.0.1:9000/","seconds":2,"size":1024,"connections":100}'
 */
import { Pool } from "undici";
import { z } from "zod";

const optionsSchema = z.object({
  url: z.string(),
  seconds: z.number(),
  size: z.number().int(),
  connections: z.number().int(),
});
export type PushOptions = z.output<typeof optionsSchema>;

export interface BareRate {
  readonly perSecond: number;
  /** CPU time of this process for each. */
  readonly cpuUs: number;
}

const { url, seconds, size, connections } = optionsSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
const pool = new Pool(url, { connections, pipelining: 1 });
const body = new Uint8Array(size);
const cpuBefore = process.cpuUsage();
const started = performance.now();
const end = started + seconds * 1000;
let pushed = 0;
async function lane(): Promise<void> {
  while (performance.now() < end) {
    const { body: answer } = await pool.request({ path: "/", method: "POST", body });
    await answer.dump();
    pushed++;
  }
}
await Promise.all(Array.from({ length: connections }, lane));
const tookSeconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
await pool.close();
process.stdout.write(
  `${JSON.stringify({ perSecond: Math.round(pushed / tookSeconds), cpuUs: (user + system) / pushed } satisfies BareRate)}\n`,
);
process.exit(0);
