import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshError } from "../../src/mesh/errors.ts";
import { type DataPlane, startDataPlane } from "../support/data-plane.ts";
import { countDeadLetters } from "../support/dead-letters.ts";
import { type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let plane: DataPlane;
let subscriber: Subscriber;

beforeAll(async () => {
  plane = await startDataPlane();
  subscriber = await startSubscriber();
});
afterAll(async () => {
  await plane?.close();
  await subscriber?.close();
});

test("an event whose history cannot be read is delivered later, not buried as one that is no event", async () => {
  const inbox = subscriber.inbox("late", 503, 204);
  const trigger = await plane.trigger("late", { subscriber: { kind: "url", uri: inbox.url } });
  const first = await plane.dispatcher();
  await plane.store({ id: "1", type: "late" });
  await until(() => inbox.received.length === 1, { what: "the first attempt fails" });
  // Who gets the event now was not there for the first attempt and has to ask the journal.
  await first.close();
  let asked = 0;
  let isAway = true;
  await plane.dispatcher({
    journalFault() {
      asked++;
      return isAway ? new MeshError("STORAGE_UNAVAILABLE", { found: "no answer" }) : undefined;
    },
  });
  await until(() => asked > 0, { what: "the journal is asked" });
  isAway = false;
  await until(() => inbox.accepted().includes("1"), { deadlineMs: 20_000, what: "the event is delivered" });
  await until(async () => (await plane.owed(trigger)) === 0, { what: "nothing is owed" });
  expect(await countDeadLetters(plane.nats)).toBe(0);
});
