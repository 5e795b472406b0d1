import { gunzipSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { extractTarGz, extractZip } from "../../../src/mesh/nats/archive.ts";
import { makeTarGz, makeZip } from "./archives.ts";

const bytesMax = 1024 * 1024;
const entry = "nats-server-v2.15.1-linux-amd64/nats-server";

test("extractTarGz takes the one file out of what tar wrote", async () => {
  const body = Buffer.alloc(100_001, "server");
  const archive = await makeTarGz({
    "nats-server-v2.15.1-linux-amd64/LICENSE": "free",
    "nats-server-v2.15.1-linux-amd64/README.md": "x".repeat(512),
    [entry]: body,
  });
  expect(extractTarGz(archive, { entry, bytesMax }).equals(body)).toBe(true);
});

test("extractTarGz refuses an archive without the file", async () => {
  const archive = await makeTarGz({ "other/nats-server": "x" });
  expect(() => extractTarGz(archive, { entry, bytesMax })).toThrow(/holds no nats-server-v2/);
});

test("extractTarGz refuses an archive that ends inside the file", async () => {
  const archive = await makeTarGz({ [entry]: Buffer.alloc(5000, "x") });
  const tar = gunzipSync(archive);
  const cut = gzipSync(tar.subarray(0, tar.indexOf("xxxx") + 1000));
  expect(() => extractTarGz(cut, { entry, bytesMax })).toThrow(/ends early/);
});

test("extractTarGz refuses an archive that unpacks to more than the bound", () => {
  const bomb = gzipSync(Buffer.alloc(bytesMax + 1));
  expect(() => extractTarGz(bomb, { entry, bytesMax })).toThrow();
});

test("extractTarGz refuses what is no archive", () => {
  expect(() => extractTarGz(Buffer.from("<html>"), { entry, bytesMax })).toThrow();
});

test("extractZip takes the one file out", () => {
  const zip = makeZip({ "a/LICENSE": "free", "a/nats-server": "server".repeat(1000) });
  expect(extractZip(zip, { entry: "a/nats-server", bytesMax }).toString()).toBe("server".repeat(1000));
});

test.each([
  ["without the file", makeZip({ other: "x" }), /holds no a/],
  ["whose size field lies", makeZip({ a: "x" }, { lieAboutSize: 7 }), /broken size/],
  ["with a file over the bound", makeZip({ a: "x".repeat(bytesMax + 1) }), /larger than/],
  [
    "that understates a file over the bound",
    makeZip({ a: "x".repeat(bytesMax + 1) }, { lieAboutSize: 5 }),
    /./,
  ],
  ["cut short", makeZip({ a: "x".repeat(5000) }).subarray(0, 60), /ends early/],
  ["that is none", Buffer.from("<html>"), /no zip archive/],
  ["with a directory outside", brokenDirectory(), /broken directory/],
])("extractZip refuses an archive %s", (_, zip, reason) => {
  expect(() => extractZip(zip, { entry: "a", bytesMax })).toThrow(reason);
});

function brokenDirectory(): Buffer {
  const zip = makeZip({ a: "x" });
  zip.writeUInt32LE(zip.length, zip.length - 6);
  return zip;
}
