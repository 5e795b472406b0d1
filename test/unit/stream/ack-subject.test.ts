import { expect, test } from "vitest";
import { parseAckSubject } from "../../../src/mesh/stream/ack-subject.ts";

const delivery = { deliveryCount: 2, sequence: 345, storedMs: 1_764_291_234_567, pending: 7 };
const numbers = "2.345.340.1764291234567890123.7";

test.each([
  ["the short form", `$JS.ACK.weft-ev-shop_orders.t-1a.${numbers}`],
  ["the long form", `$JS.ACK.hub.Xy12.weft-ev-shop_orders.t-1a.${numbers}`],
  ["the long form with a token", `$JS.ACK._.Xy12.weft-ev-shop_orders.t-1a.${numbers}.r4nd0m`],
  ["the long form with more to come", `$JS.ACK._.Xy12.weft-ev-shop_orders.t-1a.${numbers}.a.b`],
])("parseAckSubject reads %s", (_name, subject) => {
  expect(parseAckSubject(subject)).toEqual(delivery);
});

test("parseAckSubject keeps nothing of the subject before", () => {
  parseAckSubject(`$JS.ACK._.Xy12.weft-ev-shop_orders.t-1a.${numbers}.r4nd0m`);
  expect(parseAckSubject(`$JS.ACK.s.c.${numbers}`)).toEqual(delivery);
});

test.each([
  "",
  "_INBOX.abc.1",
  "$JS.ACK.",
  "$JS.ACK.s.c",
  "$JS.ACK.s.c.2.345.340.1764291234567890123",
  "$JS.ACK.d.s.c.2.345.340.1764291234567890123.7",
  "$JS.ACK.s.c.two.345.340.1764291234567890123.7",
  `$JS.ACKS.s.c.${numbers}`,
])("parseAckSubject knows %j is no delivery", (subject) => {
  expect(parseAckSubject(subject)).toBeUndefined();
});
