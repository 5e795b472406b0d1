import { beforeAll, expect, test } from "vitest";
import { runWeft, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { eventOf, type Subscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

const broken = `
export default function handle(event) {
  throw new Error("no stock for " + event.data.item);
}
`;
const fixed = (reply: string) => `
export default function handle(event, ctx) {
  return ctx.reply({ item: event.data.item }, { type: "${reply}" });
}
`;
const unparsable = `
export default function handle(event) {
  const item = ;
}
`;

useSharedMesh({ functions: { "stock.ts": broken } });
beforeAll(async () => {
  const delivery = { retry: 2, backoffPolicy: "linear", backoffDelay: "PT0.05S" };
  await mesh.serve(
    triggerManifest("stock", { type: "order", to: "stock", delivery }),
    triggerManifest("reserved-v1", { type: "reserved.v1", to: reserved(1).url }),
    triggerManifest("reserved-v2", { type: "reserved.v2", to: reserved(2).url }),
  );
});

const inboxes = new Map<number, ReturnType<Subscriber["inbox"]>>();
/** Gets what version `n` of the function replies. */
function reserved(n: number): ReturnType<Subscriber["inbox"]> {
  const inbox = inboxes.get(n) ?? subscriber.inbox(`reserved-${n}`);
  inboxes.set(n, inbox);
  return inbox;
}

async function readyRevision(): Promise<unknown> {
  return (await mesh.objects("services")).get("stock")?.status?.latestReadyRevisionName;
}

/** Replaces the function and waits until the new code serves. */
async function replace(text: string): Promise<void> {
  const before = await readyRevision();
  await mesh.writeFunction("stock.ts", text);
  await until(async () => (await readyRevision()) !== before, { what: "the new code serves" });
}

test("a function that throws is retried and then a dead letter with every attempt", async () => {
  await ledger.accept({ id: "o-1", type: "order", data: { item: "tea" } });
  const letter = await mesh.deadLetter("stock");
  expect(letter).toMatchObject({
    broker: "default",
    reason: "RetriesExhausted",
    event: { id: "o-1", data: { item: "tea" } },
  });
  expect(letter.attempts.map(({ status }) => status)).toEqual([500, 500, 500]);
  for (const { body, at, ms } of letter.attempts) {
    expect(body).toContain("no stock for tea");
    expect(Date.parse(at)).not.toBeNaN();
    expect(ms).toBeGreaterThanOrEqual(0);
  }
  expect(await mesh.trigger("stock")).toMatchObject({ delivered: 0, retried: 2, dead: 1, pending: 0 });
  const told = [
    /failed {2}default\/stock {2}order o-1 {2}attempt 1: 500 .*no stock for tea.*retry in/,
    /DEAD {2}default\/stock {2}order o-1 {2}RetriesExhausted after 3 attempts/,
  ];
  await until(() => told.every((line) => line.test(mesh.output)), { what: "the lines in the output" });
});

test("dead list and dead show say the same as the API", async () => {
  const [letter] = await mesh.deadLetters();
  const list = await mesh.weft("dead", "list", "--json");
  expect(list.code).toBe(0);
  expect(JSON.parse(list.stdout)).toEqual({ items: [letter] });
  const show = await mesh.weft("dead", "show", letter?.id ?? "", "--json");
  expect(JSON.parse(show.stdout)).toEqual(letter);
  const human = await mesh.weft("dead", "show", letter?.id ?? "");
  expect(human.stdout).toContain("no stock for tea");
  const other = await mesh.weft("dead", "list", "--trigger", "other");
  expect(other).toMatchObject({ code: 0, stdout: "No dead letters.\n" });
});

test("a dead letter and its attempts are there after a restart", async () => {
  const before = await mesh.deadLetters();
  const counted = await mesh.trigger("stock");
  await mesh.restart();
  expect(await mesh.deadLetters()).toEqual(before);
  expect(await mesh.trigger("stock")).toEqual(counted);
});

test("dead redrive of what fails again leaves one dead letter, of the new attempts", async () => {
  const [before] = await mesh.deadLetters();
  expect((await mesh.weft("dead", "redrive", before?.id ?? "")).code).toBe(0);
  await until(async () => (await mesh.trigger("stock")).dead === 2, { what: "it died again" });
  const letter = await mesh.deadLetter("stock");
  expect(letter.id).not.toBe(before?.id);
  expect(letter.event.id).toBe("o-1");
  expect(letter.attempts).toHaveLength(3);
});

test("dead redrive delivers it once the function is fixed, and it leaves the list", async () => {
  await ledger.accept({ id: "o-2", type: "order", data: { item: "pot" } });
  await until(async () => (await mesh.deadLetters({ trigger: "stock" })).length === 2, {
    what: "o-2 is dead",
  });
  await replace(fixed("reserved.v1"));
  const redrive = await mesh.weft("dead", "redrive", "--all");
  expect(redrive.code).toBe(0);
  expect(redrive.stdout.match(/^redriven /gm)).toHaveLength(2);
  await until(() => reserved(1).received.length === 2, { what: "both are delivered" });
  expect(
    reserved(1)
      .received.map((received) => eventOf(received).data)
      .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  ).toEqual([{ item: "pot" }, { item: "tea" }]);
  await until(async () => (await mesh.deadLetters()).length === 0, { what: "the list is empty" });
  expect(await mesh.trigger("stock")).toMatchObject({ delivered: 2, pending: 0, inFlight: 0 });
});

test("dead redrive of an unknown id fails and says so", async () => {
  const { code, stderr } = await mesh.weft("dead", "redrive", "default_default_999999");
  expect(code).toBe(1);
  expect(stderr).toMatch(/No such thing: dead letter/);
  expect((await mesh.weft("dead", "redrive")).code).toBe(2);
});

test("a syntax error is told with file and line, and the version before goes on serving", async () => {
  await mesh.writeFunction("stock.ts", unparsable);
  const rejected = await until(
    async () => {
      const found = (await mesh.status()).rejected;
      return found.length > 0 && found;
    },
    { what: "the function is rejected" },
  );
  expect(rejected).toEqual([
    {
      file: expect.stringMatching(/functions\/stock\.ts$/),
      line: 3,
      kind: "Function",
      name: "stock",
      message: 'Unexpected ";"',
    },
  ]);
  await until(() => /stock does not compile: functions\/stock\.ts:3:\d+: Unexpected ";"/.test(mesh.output), {
    what: "the fault in the output",
  });
  await ledger.accept({ id: "o-3", type: "order", data: { item: "cup" } });
  await until(() => reserved(1).received.length === 3, { what: "the old version answers" });
});

test("a syntax error does not stop the version before from serving after a restart", async () => {
  await mesh.restart();
  expect((await mesh.status()).rejected).toMatchObject([{ name: "stock", line: 3 }]);
  await ledger.accept({ id: "o-4", type: "order", data: { item: "cup" } });
  await until(() => reserved(1).received.length === 4, { what: "the old version answers" });
  await replace(fixed("reserved.v2"));
  await until(async () => (await mesh.status()).rejected.length === 0, { what: "nothing is rejected" });
  await until(
    async () => {
      await ledger.accept({ id: crypto.randomUUID(), type: "order", data: { item: "cup" } });
      return reserved(2).received.length > 0;
    },
    { what: "the new version answers" },
  );
});

test("dead letters come in pages", async () => {
  const inbox = subscriber.inbox("refusing", 400);
  await mesh.serve(triggerManifest("refusing", { type: "refused", to: inbox.url }));
  const ids = Array.from({ length: 25 }, (_, i) => `page-${i}`);
  for (const id of ids) await ledger.accept({ id, type: "refused" });
  await ledger.settle({ trigger: "refusing", type: "refused", inbox });
  const letters = await mesh.deadLetters({ limit: "10", trigger: "refusing" });
  expect(letters.map(({ event }) => event.id).sort()).toEqual(ids.sort());
  expect(new Set(letters.map(({ id }) => id)).size).toBe(25);
});

test("dead discard deletes them", async () => {
  expect((await mesh.weft("dead", "discard", "--all", "--trigger", "refusing")).code).toBe(0);
  expect(await mesh.deadLetters({ trigger: "refusing" })).toEqual([]);
});

test("a command without a mesh says how to start one", async () => {
  const { code, stderr } = await runWeft(["status", "--server", "http://127.0.0.1:1"], mesh.dir);
  expect(code).toBe(1);
  expect(stderr).toContain("npm start");
});

test("the first event after a reload is answered by the new code", async () => {
  for (let n = 10; n < 16; n++) {
    const id = `reload-${n}`;
    await mesh.serve(triggerManifest(id, { type: `reload.v${n}`, to: reserved(n).url }));
    await replace(fixed(`reload.v${n}`));
    await ledger.accept({ id, type: "order", data: { item: "cup" } });
    await until(() => reserved(n).received.length === 1, { what: `version ${n} answers` });
  }
});
