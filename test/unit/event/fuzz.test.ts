import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { Event } from "../../../src/mesh/event/event.ts";
import { decodeHttp, decodeHttpResponse, encodeStructured } from "../../../src/mesh/event/http.ts";
import { decodeJson, decodeJsonBatch, encodeJson, eventFromJson } from "../../../src/mesh/event/json.ts";
import { decodeNats, encodeNatsHeaders } from "../../../src/mesh/event/nats.ts";
import { requireName, requireValue } from "../../../src/mesh/event/validate.ts";
import { arbitraryBody, arbitraryRawHeaders } from "../../fuzz/arbitrary-event.ts";

const property = { seed: 42, numRuns: 3000 };

/** What `read` reads, or nothing when it refuses; anything thrown but a refusal goes through. */
function readOrRefuse(read: () => Event[]): Event[] {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    expect(error.message.length).toBeLessThan(2000);
    return [];
  }
}

function expectValid({ attributes }: Event): void {
  for (const [name, value] of Object.entries(attributes)) {
    requireName(name);
    requireValue(name, value);
  }
  for (const name of ["specversion", "id", "source", "type"]) expect(attributes[name]).toBeTruthy();
}

describe("arbitrary input", () => {
  test("is read by decodeHttp into valid events or refused, and some is read", () => {
    let reads = 0;
    fc.assert(
      fc.property(arbitraryRawHeaders, arbitraryBody, (rawHeaders, body) => {
        const events = readOrRefuse(() => {
          const decoded = decodeHttp(rawHeaders, body);
          return decoded.kind === "event" ? [decoded.event] : [...decoded.events];
        });
        reads += events.length;
        for (const event of events) {
          expectValid(event);
          expectValid(decodeJson(encodeStructured(event).body));
        }
      }),
      property,
    );
    expect(reads).toBeGreaterThan(100);
  });

  test("is never thrown at by decodeHttpResponse", () => {
    fc.assert(
      fc.property(arbitraryRawHeaders, arbitraryBody, (rawHeaders, body) => {
        expect(["none", "event", "malformed"]).toContain(decodeHttpResponse(rawHeaders, body).kind);
      }),
      property,
    );
  });

  test("is read by decodeNats into valid events or refused", () => {
    const headers = fc.array(
      fc.tuple(fc.string({ unit: "binary" }), fc.array(fc.string({ unit: "binary" }))),
    );
    const nearly = arbitraryRawHeaders.map((raw) =>
      raw.flatMap((name, at) => (at % 2 === 0 ? [[name, [raw[at + 1] ?? ""]] as [string, string[]]] : [])),
    );
    fc.assert(
      fc.property(fc.oneof(headers, nearly), arbitraryBody, (pairs, body) => {
        for (const event of readOrRefuse(() => [decodeNats(pairs, body)])) {
          expectValid(event);
          for (const text of encodeNatsHeaders(event)) expect(text).toMatch(/^[\x20-\x7e]*$/);
        }
      }),
      property,
    );
  });

  test("is read by decodeJson as JSON.parse would see it, or refused", () => {
    fc.assert(
      fc.property(arbitraryBody, (body) => {
        for (const event of readOrRefuse(() => [decodeJson(body)])) {
          const object = JSON.parse(Buffer.from(body).toString("utf8")) as Record<string, unknown>;
          expect(object.id).toBe(event.attributes.id);
          expectValid(decodeJson(encodeJson(event)));
        }
        readOrRefuse(() => decodeJsonBatch(body));
      }),
      property,
    );
  });

  test("is taken by eventFromJson or refused", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withDate: true, withTypedArray: true }), (object) => {
        readOrRefuse(() => [eventFromJson(object)]);
      }),
      property,
    );
  });

  test.each([
    ["members", `{${Array.from({ length: 300_000 }, (_, at) => `"e${at}":"v"`).join(",")}}`],
    ["null members", `{${Array.from({ length: 300_000 }, (_, at) => `"e${at}":null`).join(",")}}`],
    ["one huge name", `{"${"a".repeat(5_000_000)}":"v"}`],
    ["one huge value", `{"a":"${"v".repeat(5_000_000)}"}`],
    ["one huge number", `{"a":${"1".repeat(5_000_000)}}`],
    ["open brackets", `{"data":${"[".repeat(5_000_000)}`],
    ["escapes", `{"a":"${"\\u0041".repeat(1_000_000)}"}`],
  ])("refuses megabytes of %s", (_, body) => {
    expect(readOrRefuse(() => [decodeJson(Buffer.from(body))])).toEqual([]);
  });
});
