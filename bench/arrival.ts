/** The sink as those see it who wait for what arrives there. */
import { firstJson, type Started, startNode } from "./process.ts";
import type { SinkCount, SinkOptions } from "./sink.ts";

export interface Sink {
  readonly url: string;
  readonly process: Started;
}

export async function startSink(options: SinkOptions): Promise<Sink> {
  const process_ = startNode("./sink.ts", [JSON.stringify(options)]);
  const { port } = await firstJson<{ port: number }>(process_);
  return { url: `http://127.0.0.1:${port}/`, process: process_ };
}

/** How long deliveries may trail behind the last accepted event. */
const trailMs = 60_000;
const lookEveryMs = 500;

/** What the sink counted once everything expected is there, or nothing more comes for a while. */
export async function arrived(sinkUrl: string, expected: number): Promise<SinkCount> {
  const end = Date.now() + trailMs;
  let last = -1;
  for (;;) {
    const count = (await (await fetch(sinkUrl)).json()) as SinkCount;
    if (count.events >= expected || Date.now() > end) return count;
    if (expected === Number.POSITIVE_INFINITY && count.events === last) return count;
    last = count.events;
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
}

export async function resetSink(sinkUrl: string): Promise<void> {
  await (await fetch(`${sinkUrl}reset`)).arrayBuffer();
}
