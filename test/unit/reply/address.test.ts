import { expect, test } from "vitest";
import {
  addressBeyond,
  decodeAddress,
  encodeAddress,
  inboxOf,
  isToken,
  randomId,
} from "../../../src/mesh/reply/address.ts";

const token = randomId() + randomId();
const headers = (raw: readonly string[]) => ({
  get: (name: string) => (raw.includes(name) ? (raw[raw.indexOf(name) + 1] ?? "") : ""),
});

test.each([undefined, "order.priced", "größe 100 %", 'a"b'])(
  "decodeAddress reads what encodeAddress wrote for reply type %s",
  (replyType) => {
    expect(decodeAddress(headers(encodeAddress({ token, replyType })))).toEqual({ token, replyType });
  },
);

test("encodeAddress writes header values that NATS takes", () => {
  for (const value of encodeAddress({ token, replyType: "größe\u2028 100 %" })) {
    expect(value).toMatch(/^[\x20-\x7e]+$/);
  }
});

test.each([
  "",
  "short",
  `${token}x`,
  token.replace(/.$/, "."),
  token.replace(/.$/, ">"),
  token.replace(/.$/, "*"),
])("decodeAddress knows nobody under %j", (text) => {
  expect(isToken(text)).toBe(false);
  expect(decodeAddress(headers(["weft-request", text]))).toBeUndefined();
});

test("inboxOf puts the requests of one process under one wildcard", () => {
  const [root, processId, requestId, ...more] = inboxOf(token).split(".");
  expect([root, `${processId}${requestId}`, more]).toEqual(["_INBOX", token, []]);
});

test("addressBeyond carries an address on until the awaited type", () => {
  const address = { token, replyType: "done" };
  expect(addressBeyond(address, "half")).toBe(address);
  expect(addressBeyond(address, "done")).toBeUndefined();
  expect(addressBeyond({ token, replyType: undefined }, "half")).toBeUndefined();
});
