/** Many events at once, in batches: what brings a mesh under more load than its subscribers can take. */
import type { Answer, Post, TestMesh } from "./mesh.ts";

export interface Flood {
  readonly type: string;
  readonly count: number;
  /** Of data, per event. */
  readonly bytes: number;
  /** What the ids begin with; no two floods share it. */
  readonly idPrefix: string;
}

/** Of one batch: well below what an ingress takes at once. */
const batchBytesMax = 2 * 1024 * 1024;
const batchEventsMax = 500;
/** Batches under way at once. */
const producers = 2;

/** Resolves when all events are accepted; a refusal is an error. */
export async function flood(mesh: Pick<TestMesh, "post">, { count, ...of }: Flood): Promise<void> {
  const size = batchSize(of.bytes);
  let next = 0;
  const produce = async () => {
    while (next < count) {
      const first = next;
      next = Math.min(count, first + size);
      const answer = await mesh.post(batch({ ...of, first, count: next - first }));
      if (answer.status !== 202) throw new Error(`refused: ${describe(answer)}`);
    }
  };
  await Promise.all(Array.from({ length: producers }, produce));
}

/** Events of so many bytes in one batch. */
export function batchSize(bytes: number): number {
  return Math.max(1, Math.min(batchEventsMax, Math.floor(batchBytesMax / bytes)));
}

/** Of `count` events, numbered from `first` on. */
export function batch({ type, bytes, idPrefix, first, count }: Flood & { readonly first: number }): Post {
  const data = "x".repeat(bytes);
  const events = Array.from({ length: count }, (_, i) => ({
    specversion: "1.0",
    id: `${idPrefix}${first + i}`,
    source: "/flood",
    type,
    datacontenttype: "text/plain",
    data,
  }));
  const headers = { "content-type": "application/cloudevents-batch+json" };
  return { headers, body: JSON.stringify(events) };
}

function describe({ status, body }: Answer): string {
  return `${status} ${body}`;
}
