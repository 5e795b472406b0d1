import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decideGuard,
  defaultBytesMax,
  type Hold,
  isCalm,
  isSameRefusal,
  type Refusal,
  type StreamLevel,
} from "../../../src/mesh/stream/guard-decision.ts";

/** A hundred events of ten bytes in a stream of at most `bytesMax`. */
function level(overrides: Partial<StreamLevel> = {}): StreamLevel {
  return {
    bytes: 1000,
    events: 100,
    firstSequence: 1,
    knownSequence: 100,
    bytesMax: 10_000,
    ageMaxMs: 1_000_000,
    youngSequence: undefined,
    ...overrides,
  };
}

function hold(sequence: number, overrides: Partial<Hold> = {}): Hold {
  return { triggerUid: `uid-${sequence}`, sequence, ageMs: 0, owed: 1, ...overrides };
}

const refusedForSize: Refusal = { because: "size", hold: hold(1) };

describe("isCalm", () => {
  test.each([
    ["far from both limits", { bytes: 100, oldestMs: 100 }, true],
    ["near the cap", { bytes: 800, oldestMs: 100 }, false],
    ["with an event near the age limit", { bytes: 100, oldestMs: 900 }, false],
  ])("%s", (_name, look, expected) => {
    expect(isCalm({ ...look, bytesMax: 1000, ageMaxMs: 1000 })).toBe(expected);
  });
});

test.each<[string, Refusal | undefined, Refusal | undefined, boolean]>([
  ["none twice", undefined, undefined, true],
  ["one that begins", undefined, refusedForSize, false],
  ["one that ends", refusedForSize, undefined, false],
  ["more of the same", refusedForSize, { because: "size", hold: hold(1, { owed: 9 }) }, true],
  ["another trigger", refusedForSize, { because: "size", hold: hold(2) }, false],
  ["another reason", refusedForSize, { because: "age", hold: hold(1) }, false],
])("isSameRefusal of %s", (_name, one, other, same) => {
  expect(isSameRefusal(one, other)).toBe(same);
});

describe("decideGuard", () => {
  test.each<[string, StreamLevel, Hold[], Refusal | undefined, number | undefined, string | undefined]>([
    ["does nothing far below the cap", level(), [hold(1)], undefined, undefined, undefined],
    ["makes room down to 70 % near the cap", level({ bytesMax: 1250 }), [], undefined, 14, undefined],
    ["makes room only below what is owed", level({ bytesMax: 1250 }), [hold(5)], undefined, 5, undefined],
    [
      "refuses at 90 % what it cannot make room for",
      level({ bytesMax: 1100 }),
      [hold(1)],
      undefined,
      undefined,
      "size",
    ],
    ["does not refuse below 90 %", level({ bytesMax: 1120 }), [hold(1)], undefined, undefined, undefined],
    [
      "goes on refusing until below 85 %",
      level({ bytesMax: 1120 }),
      [hold(1)],
      refusedForSize,
      undefined,
      "size",
    ],
    [
      "takes events again below 85 %",
      level({ bytesMax: 1190 }),
      [hold(1)],
      refusedForSize,
      undefined,
      undefined,
    ],
    [
      "refuses nothing when room can be made",
      level({ bytesMax: 1000 }),
      [hold(60)],
      undefined,
      31,
      undefined,
    ],
    ["refuses nothing when nothing is owed", level({ bytesMax: 1000 }), [], undefined, 31, undefined],
    [
      "deletes nothing that replicas may not all know",
      level({ bytesMax: 1000, knownSequence: 0 }),
      [],
      undefined,
      undefined,
      undefined,
    ],
    ["deletes what is too old", level({ youngSequence: 40 }), [], undefined, 40, undefined],
    ["keeps what is too old and owed", level({ youngSequence: 40 }), [hold(20)], undefined, 20, undefined],
    [
      "refuses when what is owed gets too old",
      level(),
      [hold(20, { ageMs: 900_000 })],
      undefined,
      undefined,
      "age",
    ],
    [
      "deletes all of a stream whose events are all too old",
      level({ youngSequence: 101 }),
      [],
      undefined,
      101,
      undefined,
    ],
  ])("%s", (_name, stream, holds, before, purgeBefore, because) => {
    const decision = decideGuard(stream, holds, before);
    expect(decision.purgeBefore).toBe(purgeBefore);
    expect(decision.refusal?.because).toBe(because);
  });

  test("names the trigger that is furthest behind", () => {
    const { refusal } = decideGuard(level({ bytesMax: 1000 }), [hold(9), hold(2), hold(5)], undefined);
    expect(refusal?.hold.triggerUid).toBe("uid-2");
  });

  test("never deletes what is owed or not known to all, and refuses only for something owed", () => {
    const sequences = fc.integer({ min: 1, max: 200 });
    fc.assert(
      fc.property(
        fc.record({
          bytes: fc.integer({ min: 0, max: 3000 }),
          events: fc.integer({ min: 0, max: 200 }),
          firstSequence: sequences,
          knownSequence: fc.integer({ min: 0, max: 200 }),
          bytesMax: fc.integer({ min: 1, max: 3000 }),
          youngSequence: fc.option(sequences, { nil: undefined }),
        }),
        fc.array(fc.record({ sequence: sequences, ageMs: fc.integer({ min: 0, max: 2_000_000 }) })),
        fc.boolean(),
        (stream, places, wasRefused) => {
          const holds = places.map(({ sequence, ageMs }) => hold(sequence, { ageMs }));
          const { purgeBefore, refusal } = decideGuard(
            level(stream),
            holds,
            wasRefused ? refusedForSize : undefined,
          );
          for (const { sequence } of holds) expect(purgeBefore ?? 0).toBeLessThanOrEqual(sequence);
          expect((purgeBefore ?? 0) - 1).toBeLessThanOrEqual(stream.knownSequence);
          if (holds.length === 0) expect(refusal).toBeUndefined();
        },
      ),
    );
  });
});

test.each([
  [1000 * 1024 ** 3, 4, 125 * 1024 ** 3],
  [1000 * 1024 ** 3, 0, 500 * 1024 ** 3],
  [1024, 1, 64 * 1024 * 1024],
])(
  "defaultBytesMax shares half of %d bytes among %d brokers, with a minimum",
  (storageBytes, brokers, expected) => {
    expect(defaultBytesMax({ storageBytes, brokers })).toBe(expected);
  },
);
