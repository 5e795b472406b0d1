import { expect, test } from "vitest";
import { incarnationOf } from "../../../src/mesh/dispatch/parcel.ts";
import { markReplayed } from "../../../src/mesh/dispatch/replayed.ts";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";

test("markReplayed marks the event and drops what an earlier failure left on it", () => {
  const own = { specversion: "1.0", id: "1", source: "/s", type: "t", partitionkey: "k" };
  const data = Buffer.from("x");
  const stale = { knativeerrordest: "http://a", knativeerrorcode: "500", knativeerrordata: "eA==" };
  const event = { attributes: attributesOf({ ...own, ...stale, weftreplay: "earlier" }), data };
  const replayed = markReplayed(event, "now");
  expect({ ...replayed.attributes }).toEqual({ ...own, weftreplay: "now" });
  expect(replayed.data).toBe(data);
  expect(event.attributes.knativeerrorcode).toBe("500");
});

test("incarnationOf tells a trigger from itself before a rewind, and one rewind from the next", () => {
  const at = (time: string) => ({ uid: "u", rewind: { sequence: 1, at: time } });
  const all = [{ uid: "u" }, at("2026-01-31T12:00:00Z"), at("2026-01-31T12:00:01Z")].map(incarnationOf);
  expect(new Set(all).size).toBe(3);
  expect(all[0]).toBe("u");
});
