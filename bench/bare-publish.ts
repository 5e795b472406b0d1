/**
 * The limit of storing: JetStream publishes of one client with so many under way. A process of its own:
 *
 *     node bench/bare-publish.ts '{"url":"nats://TOKEN@127.0.0.1:4222","seconds":2,"size":1024,"window":512}'
 */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { z } from "zod";
import type { BareRate } from "./bare-push.ts";

const optionsSchema = z.object({
  url: z.string(),
  seconds: z.number(),
  size: z.number().int(),
  window: z.number().int(),
});
export type PublishOptions = z.output<typeof optionsSchema>;

const { url, seconds, size, window } = optionsSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
const { host, username } = new URL(url);
const nc = await connect({ servers: host, token: decodeURIComponent(username) });
await (await jetstreamManager(nc)).streams.add({ name: "bench-limit", subjects: ["bench.limit"] });
const js = jetstream(nc);
const payload = new Uint8Array(size);
const cpuBefore = process.cpuUsage();
const started = performance.now();
const end = started + seconds * 1000;
let stored = 0;
async function lane(): Promise<void> {
  while (performance.now() < end) {
    await js.publish("bench.limit", payload);
    stored++;
  }
}
await Promise.all(Array.from({ length: window }, lane));
const tookSeconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
await nc.close();
process.stdout.write(
  `${JSON.stringify({ perSecond: Math.round(stored / tookSeconds), cpuUs: (user + system) / stored } satisfies BareRate)}\n`,
);
process.exit(0);
