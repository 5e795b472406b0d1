import { expect, test } from "vitest";
import { Histories } from "../../../src/mesh/dispatch/histories.ts";
import { freshHistory, type History } from "../../../src/mesh/dispatch/parcel.ts";

function failed(count: number): History {
  return { ...freshHistory(), failed: count };
}

async function recall(histories: Histories, deliveryCount: number, journal: History) {
  let reads = 0;
  const history = await histories.recall(7, {
    deliveryCount,
    readJournal: async () => {
      reads++;
      return journal;
    },
  });
  return { failed: history.failed, reads };
}

test("Histories need no journal when the next delivery comes back to the same process", async () => {
  const histories = new Histories();
  histories.remember(7, failed(1), 1);
  expect(await recall(histories, 2, failed(99))).toEqual({ failed: 1, reads: 0 });
});

test("Histories ask the journal when another process had the delivery in between", async () => {
  const histories = new Histories();
  histories.remember(7, failed(1), 1);
  expect(await recall(histories, 3, failed(2))).toEqual({ failed: 2, reads: 1 });
});

test("Histories ask the journal about what they do not know, or forgot", async () => {
  const histories = new Histories();
  expect(await recall(histories, 2, failed(3))).toEqual({ failed: 3, reads: 1 });
  histories.remember(7, failed(1), 1);
  histories.forget(7);
  expect(await recall(histories, 2, failed(3))).toEqual({ failed: 3, reads: 1 });
});

test("Histories keep an attempt that the journal does not have", async () => {
  const histories = new Histories();
  histories.remember(7, failed(2), 1);
  expect(await recall(histories, 3, failed(1))).toEqual({ failed: 2, reads: 1 });
});
