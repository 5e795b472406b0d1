import { expect, test } from "vitest";
import type { Lease } from "../../../src/mesh/host/service.ts";
import { WaitingLine } from "../../../src/mesh/host/waiting-line.ts";

const lease = (instance: string): Lease => ({ url: "", headers: {}, instance, release() {} });

function serve(line: WaitingLine, instances: string[]): void {
  line.serve({ hasRoom: () => instances.length > 0, take: () => lease(instances.shift() ?? "") });
}

test("WaitingLine must serve in order, as far as there is room", async () => {
  const line = new WaitingLine(() => {});
  const waiting = [line.join(undefined), line.join(undefined), line.join(undefined)];
  serve(line, ["a", "b"]);
  expect(line.length).toBe(1);
  serve(line, ["c"]);
  expect((await Promise.all(waiting)).map(({ instance }) => instance)).toEqual(["a", "b", "c"]);
});

test("WaitingLine must let go of who gives up, and say so", async () => {
  let left = 0;
  const line = new WaitingLine(() => {
    left += 1;
  });
  const giveUp = new AbortController();
  const first = line.join(giveUp.signal);
  const second = line.join(undefined);
  giveUp.abort(new Error("no patience"));
  await expect(first).rejects.toThrow("no patience");
  serve(line, ["a"]);
  expect((await second).instance).toBe("a");
  expect([left, line.length]).toEqual([1, 0]);
});

test("WaitingLine must be bounded, and refuse all at once", async () => {
  const line = new WaitingLine(() => {});
  const waiting = Array.from({ length: 10_000 }, () => line.join(undefined).catch(String));
  expect(line.isFull).toBe(true);
  line.refuseAll("closed");
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(["closed"]));
  expect(line.length).toBe(0);
});
