/**
 * A mesh under more load than its subscribers can take, for as long as is asked for: memory must stop growing,
 * and everything accepted must be delivered once the subscribers are quick again. Exits with 1 when not.
 *
 *     node test/soak/overload.ts --seconds 600 --triggers 4 --answer-ms 2000 --stream-bytes 2GB
 *
 * Each trigger has a type and a subscriber of its own, by turns for events of 1 KiB and of 64 KiB. The stream is
 * capped, so that in time the ingress refuses, too; a refused batch is sent again.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/mesh/clock.ts";
import { findServer } from "../../src/mesh/nats/find.ts";
import { batch, batchSize } from "../support/flood.ts";
import { type HoldingSubscriber, startHoldingSubscriber } from "../support/holding-subscriber.ts";
import { type Memory, memoryOf } from "../support/memory.ts";
import { startTestMesh, type TestMesh, triggerManifest } from "../support/mesh.ts";
import { useNatsBinary } from "../support/nats-binary.ts";
import { hasStoppedGrowing } from "../support/plateau.ts";
import { until } from "../support/until.ts";
import { run, say, started } from "./script.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    triggers: { type: "string", default: "4" },
    "answer-ms": { type: "string", default: "2000" },
    "stream-bytes": { type: "string", default: "2GB" },
  },
});

const sizes = [1024, 64 * 1024];
const samplesWanted = 60;
const slack = { share: 0.1, amount: 48 };
/** Before a refused batch is sent again. */
const refusedMs = 500;
const settleMs = 1_200_000;
const seconds = Number(values.seconds);

interface Sample {
  readonly weft: Memory;
  readonly nats: Memory;
}

/** Events of one type, from their producer to their subscriber. */
interface Lane {
  readonly type: string;
  readonly bytes: number;
  readonly subscriber: HoldingSubscriber;
  accepted: number;
  refused: number;
}

async function overload(): Promise<void> {
  const { binary } = await findServer({
    clock: systemClock,
    path: process.env.PATH ?? "",
    cacheDir: process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
    say,
  });
  useNatsBinary(binary);
  const mesh = started.use(
    "mesh",
    await startTestMesh({ flags: ["--stream-bytes-max", values["stream-bytes"]] }),
  );
  const lanes = await Promise.all(
    Array.from({ length: Number(values.triggers) }, (_, i) => openLane(mesh, i)),
  );
  const natsPid = (await mesh.status()).nats.pid;
  if (natsPid === null) throw new Error("the mesh runs no NATS server of its own");
  const look = async (): Promise<Sample> => ({
    weft: await memoryOf(mesh.pid),
    nats: await memoryOf(natsPid),
  });

  say(`${seconds} s, ${lanes.length} triggers, answers after ${values["answer-ms"]} ms`);
  const endMs = systemClock.monotonic() + seconds * 1000;
  const producers = lanes.map((lane) => produce(mesh, { lane, endMs }));
  const samples: Sample[] = [];
  while (systemClock.monotonic() < endMs) {
    const sample = await look();
    samples.push(sample);
    report(sample, lanes);
    await systemClock.sleep((seconds * 1000) / samplesWanted);
  }
  await Promise.all(producers);
  judge(samples);

  say("the subscribers answer at once now");
  for (const { subscriber } of lanes) subscriber.release();
  for (const { type, accepted, subscriber } of lanes) {
    // A batch that was refused at last may be stored in part.
    await until(() => subscriber.delivered >= accepted, {
      deadlineMs: settleMs,
      what: `all ${accepted} accepted events of ${type} are delivered`,
    });
  }
  report(await look(), lanes);
  say("memory stopped growing; every accepted event was delivered");
}

async function openLane(mesh: TestMesh, index: number): Promise<Lane> {
  const type = `overload-${index}`;
  const subscriber = started.use(
    type,
    await startHoldingSubscriber({ answerMs: Number(values["answer-ms"]) }),
  );
  await mesh.serve(triggerManifest(type, { type, to: subscriber.url }));
  return { type, bytes: sizes[index % sizes.length] ?? 0, subscriber, accepted: 0, refused: 0 };
}

async function produce(mesh: TestMesh, { lane, endMs }: { lane: Lane; endMs: number }): Promise<void> {
  const { type, bytes } = lane;
  const count = batchSize(bytes);
  while (systemClock.monotonic() < endMs) {
    const { status } = await mesh.post(
      batch({ type, bytes, idPrefix: `${type}-`, first: lane.accepted, count }),
    );
    if (status === 202) lane.accepted += count;
    else {
      lane.refused += count;
      await systemClock.sleep(refusedMs);
    }
  }
}

function report({ weft, nats }: Sample, lanes: readonly Lane[]): void {
  const of = (name: "accepted" | "refused") => lanes.reduce((sum, lane) => sum + lane[name], 0);
  const delivered = lanes.reduce((sum, { subscriber }) => sum + subscriber.delivered, 0);
  say(
    `weft ${weft.residentMb.toFixed(0)} MB (peak ${weft.peakMb.toFixed(0)}), ` +
      `nats ${nats.residentMb.toFixed(0)} MB (peak ${nats.peakMb.toFixed(0)}); ` +
      `accepted ${of("accepted")}, refused ${of("refused")}, delivered ${delivered}`,
  );
}

function judge(samples: readonly Sample[]): void {
  for (const name of ["weft", "nats"] as const) {
    const resident = samples.map((sample) => Math.round(sample[name].residentMb));
    if (!hasStoppedGrowing(resident, slack)) {
      throw new Error(`the memory of ${name} did not stop growing: ${resident.join(" ")} MB`);
    }
  }
}

await run(overload);
