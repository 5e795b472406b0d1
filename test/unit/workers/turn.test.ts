import { expect, test } from "vitest";
import { nextTurn } from "../../../src/mesh/workers/turn.ts";

test.each([
  { last: 0, canTake: [true, true, true], next: 1 },
  { last: 2, canTake: [true, true, true], next: 0 },
  { last: 0, canTake: [true, false, true], next: 2 },
  { last: 0, canTake: [true, false, false], next: 0 },
  { last: 1, canTake: [false, true], next: 1 },
  { last: 0, canTake: [false, false], next: undefined },
  { last: 0, canTake: [], next: undefined },
])("nextTurn after $last of $canTake is $next", ({ last, canTake, next }) => {
  expect(nextTurn(last, canTake)).toBe(next);
});
