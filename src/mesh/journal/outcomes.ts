/** Reads outcomes back out of the journal's batches: how an event ended, at each trigger. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import { readStretch, sequenceAt } from "../stream/position.ts";
import { type BrokerKey, journalStream, outcomesSubject } from "../stream/subjects.ts";
import { type OutcomeRecord, outcomeBatchSchema } from "./record.ts";

/** All that match of what was journaled since `sinceMs`, oldest first. The journal is bounded, so this is too. */
export async function readOutcomes(
  parts: { jsm: JetStreamManager; clock: Clock },
  broker: BrokerKey,
  { sinceMs, matches }: { sinceMs: number; matches: (record: OutcomeRecord) => boolean },
): Promise<OutcomeRecord[]> {
  const stream = journalStream(broker);
  const fromSequence = await sequenceAt(parts.jsm, stream, { kind: "time", atMs: sinceMs });
  const toSequence = (await sequenceAt(parts.jsm, stream, { kind: "new" })) - 1;
  const outcomes: OutcomeRecord[] = [];
  const stretch = { subject: outcomesSubject(broker), fromSequence, toSequence };
  for await (const messages of readStretch(parts, stream, stretch)) {
    for (const { data } of messages) outcomes.push(...parse(data).filter(matches));
  }
  return outcomes;
}

function parse(data: Uint8Array): readonly OutcomeRecord[] {
  try {
    return outcomeBatchSchema.safeParse(JSON.parse(Buffer.from(data).toString("utf8"))).data ?? [];
  } catch {
    return [];
  }
}
