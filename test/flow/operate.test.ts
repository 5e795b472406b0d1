import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { brokerManifest, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import type { Inbox, Script } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

useSharedMesh();

const quick = { retry: 0 };

interface Setup {
  readonly script?: Script;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly delivery?: object;
}

/** A broker `name` with a trigger of that name for the type `wanted`. */
async function serve(name: string, { script, annotations, delivery = quick }: Setup = {}): Promise<Inbox> {
  const inbox = subscriber.inbox(name, ...(script === undefined ? [] : ([script] as const)));
  const options = { broker: name, type: "wanted", to: inbox.url, delivery };
  await mesh.serve(
    brokerManifest(name),
    triggerManifest(name, annotations === undefined ? options : { ...options, annotations }),
  );
  return inbox;
}

async function send(broker: string, ...ids: readonly string[]): Promise<void> {
  for (const id of ids) await ledger.accept({ id, type: "wanted", path: `/default/${broker}` });
}

async function settled(trigger: string): Promise<void> {
  await until(
    async () => {
      const { pending, inFlight } = await mesh.trigger(trigger);
      return pending + inFlight === 0;
    },
    { what: `${trigger} owes nothing` },
  );
}

async function weft(...args: readonly string[]): Promise<{ code: number; lines: unknown[]; stderr: string }> {
  const { code, stdout, stderr } = await mesh.weft(...args, "--json");
  const lines = stdout.split("\n").filter((line) => line !== "");
  return { code, lines: lines.map((line) => JSON.parse(line)), stderr };
}

const ids = (inbox: Inbox) => inbox.received.map(({ id }) => id);

test("pause holds a trigger's events, also over a restart; resume delivers them", async () => {
  const inbox = await serve("pausable");
  await send("pausable", "before");
  await until(() => inbox.received.length === 1, { what: "the event before the pause" });
  expect(await weft("pause", "pausable")).toMatchObject({
    code: 0,
    lines: [{ paused: true, inForce: true }],
  });
  await send("pausable", "while-1", "while-2");
  await mesh.restart();
  await send("pausable", "while-3");
  await until(async () => (await mesh.trigger("pausable")).pending === 3, { what: "three events wait" });
  expect((await mesh.trigger("pausable")).inFlight).toBe(0);
  expect(ids(inbox)).toEqual(["before"]);
  expect(await weft("resume", "pausable")).toMatchObject({ code: 0, lines: [{ paused: false }] });
  await until(() => inbox.received.length === 4, { what: "what waited" });
});

test.each([
  ["first", ["e-1", "e-2", "e-3"]],
  ["seq:3", ["e-3"]],
  ["since:PT1H", ["e-1", "e-2", "e-3"]],
  ["new", []],
])("a new trigger with weft.dev/start %s begins there", async (start, expected) => {
  const name = `start-${start.replace(/\W+/g, "-").toLowerCase()}`;
  await mesh.serve(brokerManifest(name));
  await send(name, "e-1", "e-2", "e-3");
  // `since` counts from the trigger's making, so all were stored before it and within the hour.
  const inbox = await serve(name, { annotations: { "weft.dev/start": start } });
  await send(name, "marker");
  await until(() => inbox.of("marker").length > 0 && inbox.received.length > expected.length, {
    what: "the marker",
  });
  expect(ids(inbox).sort()).toEqual([...expected, "marker"].sort());
});

describe("rewind", () => {
  test("delivers everything from there again, once more for each, replies too", async () => {
    const name = "rewound";
    const reply = (id: string) => ({
      status: 200,
      headers: { "ce-specversion": "1.0", "ce-id": `reply-${id}`, "ce-source": "/r", "ce-type": "reply" },
    });
    const inbox = await serve(name, { script: ({ id }) => reply(id) });
    const replies = subscriber.inbox(`${name}-replies`);
    await mesh.serve(triggerManifest(`${name}-replies`, { broker: name, type: "reply", to: replies.url }));
    await send(name, "a", "b", "c");
    await until(() => replies.received.length === 3, { what: "the replies" });
    await settled(name);
    const second = z
      .object({ sequence: z.int() })
      .parse((await weft("rewind", name, "--to", "first")).lines[0]);
    expect(second.sequence).toBe(1);
    await until(() => inbox.received.length === 6 && replies.received.length === 6, { what: "all again" });
    await settled(name);
    expect(inbox.received.slice(3).map(({ id }) => id)).toEqual(["a", "b", "c"]);
    expect(inbox.received.every(({ headers }) => headers["ce-weftreplay"] === undefined)).toBe(true);
    await mesh.restart();
    await send(name, "marker");
    await until(() => inbox.of("marker").length > 0, { what: "the marker" });
    expect(inbox.received).toHaveLength(7);
  });

  test("never skips what is still owed, and tries again what was given up", async () => {
    const name = "owing";
    let broken = true;
    const delivery = { retry: 20, backoffPolicy: "linear", backoffDelay: "PT0.2S" };
    const inbox = await serve(name, {
      delivery,
      script: ({ id }) => (broken && id !== "good" ? (id === "refused" ? 400 : 503) : 200),
    });
    await send(name, "owed", "refused", "good");
    await until(async () => inbox.of("good").length === 1 && inbox.of("owed").length > 1, {
      what: "the good one delivered, another backing off",
    });
    const letter = await mesh.deadLetter(name);
    await mesh.weft("dead", "discard", letter.id);
    const answer = await weft("rewind", name, "--to", "seq:3");
    expect(answer).toMatchObject({ code: 0, lines: [{ sequence: 1, inForce: true }] });
    const again = await mesh.deadLetter(name);
    expect(again.event.id).toBe("refused");
    expect(again.attempts).toHaveLength(1);
    broken = false;
    await until(() => inbox.accepted().includes("owed"), { what: "the owed event" });
    await settled(name);
    expect(inbox.of("refused")).toHaveLength(2);
  });

  test.each([
    ["nowhere", "absent", "seq:1"],
    ["the future", "pausable", "new"],
  ])("to %s is refused", async (_what, trigger, to) => {
    expect((await mesh.weft("rewind", trigger, "--to", to)).code).toBe(1);
  });
});

describe("replay", () => {
  test("sends what matches to one trigger, marked and without stale error attributes", async () => {
    const name = "replayed";
    const inbox = await serve(name);
    const other = subscriber.inbox(`${name}-other`);
    await mesh.serve(triggerManifest(`${name}-other`, { broker: name, to: other.url }));
    const path = `/default/${name}`;
    await ledger.accept({ id: "x-1", type: "wanted", path, attributes: { knativeerrorcode: "500" } });
    await ledger.accept({ id: "x-2", type: "unwanted", path });
    await send(name, "x-3", "x-4");
    await until(() => other.received.length === 4, { what: "the first deliveries" });
    await settled(name);
    const dry = await weft("replay", name, "--from", "1", "--to", "3", "--dry-run");
    expect(dry.code).toBe(0);
    expect(dry.lines).toMatchObject([
      { kind: "event", sequence: 1, id: "x-1" },
      { kind: "event", sequence: 3, id: "x-3" },
      { kind: "end", matched: 2 },
    ]);
    const run = await weft("replay", name, "--from", "since:PT1H", "--to", "3", "--rate", "20/s");
    expect(run.code).toBe(0);
    const end = run.lines.at(-1);
    expect(end).toMatchObject({ kind: "end", matched: 2, stopped: false });
    await until(() => inbox.received.length === 5, { what: "the replay" });
    await settled(name);
    const again = inbox.received.slice(3);
    expect(again.map(({ id }) => id)).toEqual(["x-1", "x-3"]);
    const { replay } = z.object({ replay: z.string() }).parse(end);
    expect(again.map(({ headers }) => headers["ce-weftreplay"])).toEqual([replay, replay]);
    expect(again[0]?.headers["ce-knativeerrorcode"]).toBeUndefined();
    expect(other.received).toHaveLength(4);
  });

  test("from an unreadable place is refused before it starts", async () => {
    const { code, stderr } = await mesh.weft("replay", "pausable", "--from", "yesterday");
    expect([code, stderr]).toEqual([1, expect.stringContaining("from")]);
  });
});

describe("dead letters", () => {
  test("are filtered by type, reason and age, redriven edited, discarded in bulk", async () => {
    const name = "mortal";
    const inbox = await serve(name, { script: ({ body }) => (body.includes("fixed") ? 200 : 400) });
    for (const id of ["d-1", "d-2", "d-3"]) {
      await ledger.accept({ id, type: "wanted", path: `/default/${name}`, data: { state: "broken" } });
    }
    await until(async () => (await mesh.deadLetters({ trigger: name })).length === 3, {
      what: "three of them",
    });
    const listed = async (query: Readonly<Record<string, string>>) =>
      (await mesh.deadLetters({ trigger: name, ...query })).length;
    expect(await listed({ type: "wanted", reason: "NotRetryable", since: "PT1H", limit: "1" })).toBe(3);
    expect(await listed({ type: "other" })).toBe(0);
    expect(await listed({ reason: "LoopDetected" })).toBe(0);
    expect(await listed({ since: "2999-01-01T00:00:00Z" })).toBe(0);
    const bad = await fetch(`${mesh.controlUrl}/weft/v1/dead-letters?since=soon`);
    expect(bad.status).toBe(400);

    const [first, second] = await mesh.deadLetters({ trigger: name });
    const edited = join(mesh.dir, "edited.json");
    await writeFile(edited, JSON.stringify({ ...first?.event, data: { state: "fixed" } }));
    const redriven = await weft("dead", "redrive", first?.id ?? "", "--edit", edited);
    expect(redriven).toMatchObject({ code: 0, lines: [{ id: first?.id, edited: true }] });
    await until(async () => (await listed({})) === 2, { what: "the edited one delivered" });
    expect(inbox.received.at(-1)).toMatchObject({ id: "d-1" });

    const invalid = await fetch(`${mesh.controlUrl}/weft/v1/dead-letters/${second?.id}/redrive`, {
      method: "POST",
      body: JSON.stringify({ specversion: "1.0", id: "no type" }),
    });
    expect(invalid.status).toBe(400);
    expect(await invalid.json()).toMatchObject({ code: "EVENT_INVALID" });

    process.env.EDITOR = "sed -i s/broken/fixed/";
    expect(await weft("dead", "redrive", "--edit", second?.id ?? "")).toMatchObject({ code: 0 });
    await until(async () => (await listed({})) === 1, { what: "the one changed in the editor delivered" });

    const chosen = ["--trigger", name, "--type", "wanted", "--all"];
    const dry = await weft("dead", "discard", ...chosen, "--dry-run");
    expect(dry).toMatchObject({ code: 0, lines: [{ dryRun: true }] });
    expect(await listed({})).toBe(1);
    expect((await weft("dead", "discard", ...chosen, "--rate", "50/s")).code).toBe(0);
    expect(await listed({})).toBe(0);
    expect((await mesh.weft("dead", "redrive", "--edit")).code).toBe(2);
  });
});

describe("why", () => {
  test("tells who wants an event, each attempt, and where it is", async () => {
    const name = "curious";
    const inbox = await serve(name, {
      script: ({ id }) => ({ status: id === "bad" ? 422 : 200, body: "no" }),
    });
    const filters = [{ exact: { type: "wanted" } }, { prefix: { source: "/elsewhere" } }];
    await mesh.serve(triggerManifest(`${name}-elsewhere`, { broker: name, filters, to: inbox.url }));
    await send(name, "good", "bad");
    await mesh.deadLetter(name);
    await settled(name);
    const whereIsIt = async (id: string) => {
      const { code, lines } = await weft("why", id, "--broker", name);
      expect(code).toBe(0);
      return lines[0];
    };
    // Outcomes are journaled in batches, a moment after the fact.
    await until(async () => JSON.stringify(await whereIsIt("good")).includes("delivered"), {
      what: "the outcome",
    });
    expect(await whereIsIt("good")).toMatchObject({
      items: [
        {
          broker: name,
          event: { id: "good" },
          triggers: [
            { name, wanted: true, now: "delivered", attempts: [], outcomes: [{ outcome: "delivered" }] },
            {
              name: `${name}-elsewhere`,
              wanted: false,
              because: [expect.stringContaining('prefix source: expected "/elsewhere", found "/test"')],
            },
          ],
        },
      ],
    });
    expect(await whereIsIt("bad")).toMatchObject({
      items: [
        {
          triggers: [
            { now: "dead", attempts: [{ status: 422, body: "no" }], deadLetters: [expect.any(String)] },
            {},
          ],
        },
      ],
    });
    const shown = await mesh.weft("why", "bad", "--broker", name);
    expect(shown.stdout).toMatch(/attempt 1 failed: 422/);
    await ledger.accept({
      id: "later",
      type: "wanted",
      path: `/default/${name}`,
      attributes: { weftdelay: "PT1H" },
    });
    expect(await whereIsIt("later")).toMatchObject({ items: [{ delayedUntil: expect.any(String) }] });
    expect((await mesh.weft("why", "never-sent")).code).toBe(1);
  });
});
