import fc from "fast-check";
import { expect, test } from "vitest";
import { MeshError } from "../../../src/mesh/errors.ts";
import { parseNatsUrl, redactUrl } from "../../../src/mesh/nats/url.ts";

const bare = { token: undefined, user: undefined, pass: undefined, tls: false };

test.each([
  ["nats://127.0.0.1:4222", { ...bare, servers: ["127.0.0.1:4222"] }],
  ["db", { ...bare, servers: ["db:4222"] }],
  ["db:4333", { ...bare, servers: ["db:4333"] }],
  ["nats://[::1]:4222/", { ...bare, servers: ["[::1]:4222"] }],
  ["nats://s3cret@db", { ...bare, servers: ["db:4222"], token: "s3cret" }],
  ["nats://ann:s3%2Fcret@db:1", { ...bare, servers: ["db:1"], user: "ann", pass: "s3/cret" }],
  ["nats://:s3cret@db", { ...bare, servers: ["db:4222"], user: "", pass: "s3cret" }],
  ["tls://db:4443", { ...bare, servers: ["db:4443"], tls: true }],
  ["nats://t@a:1, b:2,nats://c", { ...bare, servers: ["a:1", "b:2", "c:4222"], token: "t" }],
])("parseNatsUrl reads %s", (text, expected) => {
  expect(parseNatsUrl(text)).toEqual(expected);
});

test.each([
  "",
  " , ",
  "http://db:4222",
  "nats://",
  "nats://db:99999",
  "nats://s3cret@db/path",
  "nats://s3cret@a,nats://other@b",
  "nats://s3cret%@db",
])("parseNatsUrl refuses %j without repeating a secret", (text) => {
  const parse = () => parseNatsUrl(text);
  expect(parse).toThrow(MeshError);
  expect(parse).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  expect(parse).not.toThrow(/s3cret/);
});

test.each([
  ["nats://tok@db:4222", "nats://***@db:4222"],
  ["nats://ann:pw@db:4222", "nats://***@db:4222"],
  ["nats://a@b@db", "nats://***@db"],
  ["nats://x@a:1,nats://y@b:2,c", "nats://***@a:1,nats://***@b:2,c"],
  ["tok@db", "***@db"],
  ["nats://db:4222", "nats://db:4222"],
])("redactUrl shows %s as %s", (text, expected) => {
  expect(redactUrl(text)).toBe(expected);
});

test("redactUrl never shows a secret, whatever it is made of", () => {
  const secret = fc.string({ minLength: 1, maxLength: 20, unit: "binary-ascii" }).map((s) => `<${s}>`);
  fc.assert(
    fc.property(secret, (text) => {
      const shown = redactUrl(`nats://${encodeURIComponent(text)}@db:4222`);
      expect(shown).toBe("nats://***@db:4222");
    }),
  );
});
