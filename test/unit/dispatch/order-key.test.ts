import { expect, test } from "vitest";
import { orderKey } from "../../../src/mesh/dispatch/order-key.ts";

const required = { specversion: "1.0", id: "1", source: "/s", type: "t" };

test.each([
  [{ partitionkey: "p", subject: "x" }, "k:p"],
  [{ subject: "x" }, "s:x"],
  [{}, "u:/s"],
  [{ subject: "/s" }, "s:/s"],
])("orderKey of %j is %s", (attributes, key) => {
  expect(orderKey({ ...required, ...attributes })).toBe(key);
});
