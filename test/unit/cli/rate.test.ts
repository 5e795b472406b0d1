import { expect, test } from "vitest";
import { paced, parseRate } from "../../../src/mesh/cli/rate.ts";
import { FakeClock } from "../../../src/mesh/clock.ts";

test.each([
  [undefined, undefined],
  ["10", 10],
  ["10/s", 10],
  ["90/m", 1.5],
  ["0.5/s", 0.5],
  ["3600/h", 1],
])("parseRate of %j is %s a second", (text, expected) => {
  expect(parseRate(text)).toBe(expected);
});

test.each(["0", "-1", "fast", "10/d", "10 per second", ""])("parseRate refuses %j", (text) => {
  expect(() => parseRate(text)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});

test("paced lets one item through at a time, the first at once, and stops when told to", async () => {
  const clock = new FakeClock();
  const stop = new AbortController();
  const passed: string[] = [];
  const all = (async () => {
    const items = paced(["a", "b", "c", "d"], { perSecond: 4, clock, stop: stop.signal });
    for await (const item of items) passed.push(item);
  })();
  await clock.advance(0);
  await new Promise(setImmediate);
  expect(passed).toEqual(["a"]);
  await clock.advance(249);
  expect(passed).toEqual(["a"]);
  await clock.advance(251);
  expect(passed).toEqual(["a", "b", "c"]);
  stop.abort();
  await all;
  expect(passed).toEqual(["a", "b", "c"]);
});
