import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { randomId } from "../../../src/mesh/reply/address.ts";
import { Seal } from "../../../src/mesh/reply/seal.ts";

const seal = new Seal(randomBytes(32));
const token = randomId() + randomId();

test("Seal opens what it closed, and no two values are alike", () => {
  const [one, other] = [seal.close(token, "default/a"), seal.close(token, "default/a")];
  expect([seal.open(one, "default/a"), seal.open(other, "default/a")]).toEqual([token, token]);
  expect(one).not.toBe(other);
  expect(one).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(one).not.toContain(token);
});

test("Seal opens nothing of another RequestReply, another mesh, or changed in any place", () => {
  const value = seal.close(token, "default/a");
  expect(seal.open(value, "default/b")).toBeUndefined();
  expect(new Seal(randomBytes(32)).open(value, "default/a")).toBeUndefined();
  for (let i = 0; i < value.length; i++) {
    const changed = value.slice(0, i) + (value[i] === "A" ? "B" : "A") + value.slice(i + 1);
    expect(seal.open(changed, "default/a")).toBeUndefined();
  }
});

test.each(["", "x", token, "A".repeat(96), "A".repeat(10_000), "ä€"])("Seal opens no %j", (value) => {
  expect(seal.open(value, "default/a")).toBeUndefined();
});

test("Seal closes only tokens that can be opened again", () => {
  expect(seal.open(seal.close("no token", "default/a"), "default/a")).toBeUndefined();
});
