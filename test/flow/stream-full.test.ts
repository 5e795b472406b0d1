import { expect, test } from "vitest";
import { z } from "zod";
import { Ledger } from "../support/ledger.ts";
import { brokerManifest, triggerManifest } from "../support/mesh.ts";
import { mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { until } from "../support/until.ts";

useSharedMesh({ flags: ["--stream-bytes-max", "2MB", "--retention", "12s"] });

const data = "x".repeat(20_000);
const problemSchema = z.looseObject({ code: z.string(), detail: z.string() });

async function stored(broker: string): Promise<{ events: number; bytes: number }> {
  const found = (await mesh.status()).brokers.find(({ name }) => name === broker);
  if (found === undefined) throw new Error(`no broker ${broker}`);
  return found;
}

/** Sends events until one is refused; resolves to the refusal. */
async function fill(ledger: Ledger, { broker, atMost }: { broker: string; atMost: number }) {
  for (let n = 0; n < atMost; n++) {
    const answer = await ledger.send({ id: `${broker}-${n}`, type: "t", path: `/default/${broker}`, data });
    if (answer === undefined) throw new Error("no answer");
    if (answer.status !== 202) return answer;
  }
  return undefined;
}

test("a full stream refuses new events for the trigger in the way, keeps what it owes, and recovers by itself", async () => {
  const inbox = subscriber.inbox("held", 204);
  const ledger = new Ledger(mesh);
  const held = (annotations: Readonly<Record<string, string>>) =>
    triggerManifest("held", { broker: "held", to: inbox.url, annotations });
  await mesh.serve(brokerManifest("held"), held({ "weft.dev/paused": "true" }));
  const refused = await fill(ledger, { broker: "held", atMost: 200 });
  expect(refused?.status).toBe(503);
  expect(refused?.headers.get("retry-after")).toMatch(/^\d+$/);
  const again = await until(
    async () => {
      const answer = await ledger.send({ id: "again", type: "t", path: "/default/held" });
      return answer?.status === 503 && answer.body.includes("default/held has yet to take") && answer;
    },
    { what: "the refusal names the trigger" },
  );
  const problem = problemSchema.parse(JSON.parse(again.body));
  expect(problem.code).toBe("STREAM_FULL");
  expect(problem.detail).toContain("2000000 bytes");
  expect(ledger.accepted.size).toBeGreaterThan(50);
  await ledger.balance({ trigger: "held", type: "t", inbox });

  await mesh.apply(held({}));
  await until(
    async () => (await ledger.send({ id: "later", type: "t", path: "/default/held" }))?.status === 202,
    {
      what: "events are taken again",
    },
  );
  await ledger.settle({ trigger: "held", type: "t", inbox });
});

test("a stream that nobody owes anything makes room for new events, for as long as they come", async () => {
  const inbox = subscriber.inbox("free", 204);
  const ledger = new Ledger(mesh);
  await mesh.serve(
    brokerManifest("free"),
    triggerManifest("free", { broker: "free", to: inbox.url }),
    triggerManifest("rare", { broker: "free", type: "never", to: inbox.url }),
  );
  for (let n = 0; n < 250; n++) {
    await until(
      async () =>
        (await ledger.send({ id: `free-${n}`, type: "t", path: "/default/free", data }))?.status === 202,
      { what: `event ${n} is taken` },
    );
  }
  await ledger.settle({ trigger: "free", type: "t", inbox });
  expect(new Set(inbox.accepted()).size).toBe(250);
  const { bytes } = await stored("free");
  expect(bytes).toBeLessThanOrEqual(2_000_000);
});

test("an event that is owed outlives the retention, and new ones are refused before it would go", async () => {
  const inbox = subscriber.inbox("old", 204);
  const ledger = new Ledger(mesh);
  const old = (annotations: Readonly<Record<string, string>>) =>
    triggerManifest("old", { broker: "old", type: "wanted", to: inbox.url, annotations });
  await mesh.serve(brokerManifest("old"), old({ "weft.dev/paused": "true" }));
  await ledger.accept({ id: "unwanted", type: "other", path: "/default/old" });
  await ledger.accept({ id: "kept", type: "wanted", path: "/default/old" });
  // Each with an id of its own: the window for duplicates ends with the retention.
  let late = 0;
  const refused = await until(
    async () => {
      const answer = await ledger.send({ id: `late-${late++}`, type: "other", path: "/default/old" });
      return answer?.status === 503 && answer;
    },
    { deadlineMs: 30_000, what: "new events are refused for age" },
  );
  expect(problemSchema.parse(JSON.parse(refused.body)).detail).toMatch(
    /trigger default\/old has yet to take/,
  );
  // The first event is nobody's and goes when its time is over; the second stays.
  await until(async () => (await stored("old")).events < ledger.accepted.size, {
    deadlineMs: 30_000,
    what: "what nobody is owed goes by age",
  });
  await mesh.apply(old({}));
  await until(() => inbox.accepted().includes("kept"), { what: "the old event is delivered" });
  await until(
    async () => (await ledger.send({ id: "after", type: "other", path: "/default/old" }))?.status === 202,
    {
      what: "events are taken again",
    },
  );
  await until(async () => (await stored("old")).events <= 1, {
    deadlineMs: 30_000,
    what: "what is too old goes",
  });
}, 120_000);
