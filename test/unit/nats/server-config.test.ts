import { expect, test } from "vitest";
import { formatServerConfig, storeBytesMax } from "../../../src/mesh/nats/server-config.ts";

const config = {
  token: "tok",
  port: -1,
  durability: "process",
  storeBytesMax: 10,
  storeDir: "/data/nats",
  logFile: "/data/nats.log",
  pidFile: "/data/nats.pid",
  portsDir: "/data/ports",
} as const;

test("formatServerConfig listens on loopback only, with a token and an 8 MiB payload", () => {
  const text = formatServerConfig(config);
  expect(text).toContain('listen: "127.0.0.1:-1"');
  expect(text).toContain('authorization { token: "tok" }');
  expect(text).toContain("max_payload: 8388608");
});

test.each([
  ["process", false],
  ["power", true],
] as const)("formatServerConfig with durability %s syncs every write: %s", (durability, synced) => {
  expect(formatServerConfig({ ...config, durability }).includes("sync_interval: always")).toBe(synced);
});

test("formatServerConfig quotes paths", () => {
  expect(formatServerConfig({ ...config, storeDir: '/my "data"\\x' })).toContain(
    'store_dir: "/my \\"data\\"\\\\x"',
  );
});

test.each([
  ["a small part of an empty disk stays free", 100e9, 0, 80e9],
  ["what is stored counts as available", 10e9, 90e9, 80e9],
  ["never below 1 GiB", 0, 0, 1024 ** 3],
  ["never above 1 TiB", 1e15, 0, 1024 ** 4],
])("storeBytesMax: %s", (_, free, used, expected) => {
  expect(storeBytesMax(free, used)).toBe(expected);
});
