import { expect, test } from "vitest";
import {
  isNewEnough,
  MINIMUM_VERSION,
  PINNED_VERSION,
  parseVersion,
  tooOld,
} from "../../../src/mesh/nats/version.ts";

test.each([
  ["nats-server: v2.15.1", "2.15.1"],
  ["nats-server: v2.15.1\n", "2.15.1"],
  ["2.12.0", "2.12.0"],
  ["2.15.0-dev", "2.15.0-dev"],
  ["v2.12.0-RC.3", "2.12.0-RC.3"],
])("parseVersion reads %j", (text, expected) => {
  expect(parseVersion(text)?.text).toBe(expected);
});

test.each(["", "nats-server", "version two", "2.15", "127.0.0.1"])("parseVersion refuses %j", (text) => {
  expect(parseVersion(text)).toBeUndefined();
});

test.each([
  ["2.11.99", false],
  ["2.9.10", false],
  ["1.99.99", false],
  ["2.12.0", true],
  ["2.12.15", true],
  ["2.12.0-RC.1", true],
  ["2.15.1", true],
  ["3.0.0", true],
])("isNewEnough decides %s by number, not by text: %s", (text, expected) => {
  const version = parseVersion(text);
  expect(version && isNewEnough(version)).toBe(expected);
});

test("PINNED_VERSION must itself be new enough", () => {
  const pinned = parseVersion(PINNED_VERSION);
  expect(pinned && isNewEnough(pinned)).toBe(true);
});

test("tooOld names the version found, the minimum, and ways to a newer one", () => {
  const error = tooOld("2.9.10", "nats://***@db:4222");
  expect(error.code).toBe("NATS_TOO_OLD");
  expect(error.message).toContain("2.9.10 (nats://***@db:4222)");
  expect(error.message).toContain(MINIMUM_VERSION);
  expect(error.message).toContain("https://github.com/nats-io/nats-server/releases");
});
