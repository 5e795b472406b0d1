import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  attemptSubject,
  brokerOfStream,
  deadLetterId,
  encodeToken,
  eventMessageId,
  eventPrefixFilter,
  eventStream,
  eventSubject,
  eventSubjectPrefix,
  parseDeadLetterId,
  typeTokens,
} from "../../../src/mesh/stream/subjects.ts";

const prefix = eventSubjectPrefix({ namespace: "default", name: "orders" });
const legalToken = /^[A-Za-z0-9_=-]+$/;

describe("encodeToken", () => {
  // Sheet nats-jetstream §4.1.
  test.each([
    ["order", "order"],
    ["Order_1-x", "Order_1-x"],
    ["", "="],
    ["a b", "a=20b"],
    ["a=b", "a=3Db"],
    ["é", "=C3=A9"],
    ["*", "=2A"],
    [">", "=3E"],
    ["a.b", "a=2Eb"],
  ])("turns %j into %s", (token, encoded) => {
    expect(encodeToken(token)).toBe(encoded);
  });

  test("hashes what is too long, to a token no other can have", () => {
    const long = encodeToken("x".repeat(101));
    expect(long).toMatch(/^=h[0-9a-f]{32}$/);
    expect(encodeToken("x".repeat(100))).toBe("x".repeat(100));
    expect(encodeToken("x".repeat(102))).not.toBe(long);
  });

  test("keeps different tokens apart and legal", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
        expect(encodeToken(a)).toMatch(legalToken);
        if (a.isWellFormed() && b.isWellFormed() && a !== b) expect(encodeToken(a)).not.toBe(encodeToken(b));
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe("eventSubject", () => {
  test.each([
    ["com.example.order", "com.example.order"],
    ["a..b", "a.=.b"],
    [".", "=.="],
    ["a.b.c.d.e.f.g.h.i.j.k.l", "a.b.c.d.e.f.g.h.i.j.k.l"],
    ["a.b.c.d.e.f.g.h.i.j.k.l.m", "a.b.c.d.e.f.g.h.i.j.k.l=2Em"],
    ["x > y", "x=20=3E=20y"],
  ])("of type %j ends in %s", (type, end) => {
    expect(eventSubject(prefix, type)).toBe(`weft.ev.default.orders.${end}`);
  });

  test("has at most 12 type tokens", () => {
    fc.assert(
      fc.property(fc.string(), (type) => {
        expect(typeTokens(type).length).toBeLessThanOrEqual(12);
      }),
      { seed: 7 },
    );
  });

  test("lies under the prefix filter of its own first pieces", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 8 }), { minLength: 2, maxLength: 16 }), (raw) => {
        const pieces = raw.map((piece) => piece.replaceAll(".", ""));
        for (let n = 1; n < pieces.length; n++) {
          const filter = eventPrefixFilter({ namespace: "default", name: "orders" }, pieces.slice(0, n));
          expect(eventSubject(prefix, pieces.join(".")).startsWith(filter.slice(0, -1))).toBe(true);
        }
      }),
      { seed: 7 },
    );
  });
});

describe("streams", () => {
  test("of `a-b`/`c` and `a`/`b_c`-like names never collide", () => {
    expect(eventStream({ namespace: "a-b", name: "c" })).toBe("weft-ev-a-b_c");
    expect(eventStream({ namespace: "a", name: "b-c" })).toBe("weft-ev-a_b-c");
    expect(eventStream({ namespace: "a", name: "b.c" })).toBe("weft-ev-a_b=2Ec");
  });

  test("brokerOfStream reads back whose stream it is", () => {
    const broker = { namespace: "team-a", name: "orders.v2" };
    expect(brokerOfStream(eventStream(broker))).toEqual(broker);
    expect(brokerOfStream("KV_weft-resources")).toBeUndefined();
    expect(brokerOfStream("somebody-elses")).toBeUndefined();
  });

  test("attempts at a redriven event have a subject of their own", () => {
    const place = { triggerUid: "u", sequence: 7 };
    const broker = { namespace: "n", name: "b" };
    expect(attemptSubject(broker, { ...place, origin: "e" })).toBe("weft.log.n.b.u.7");
    expect(attemptSubject(broker, { ...place, origin: "r" })).toBe("weft.log.n.b.u.r7");
  });
});

describe("deadLetterId", () => {
  test("reads back", () => {
    const broker = { namespace: "team-a", name: "orders.v2" };
    expect(parseDeadLetterId(deadLetterId(broker, 42))).toEqual({ broker, sequence: 42 });
  });

  test.each([
    "",
    "x",
    "a_b",
    "a_b_c",
    "a_b_-1",
    "a*_b_1",
    "a_b_1.5",
    "../etc_x_1",
    "a_b_99999999999999999999",
  ])("refuses %j", (id) => {
    expect(parseDeadLetterId(id)).toBeUndefined();
  });
});

describe("eventMessageId", () => {
  test("differs when source or id differ", () => {
    const ids = [
      eventMessageId("/a", "1"),
      eventMessageId("/a", "2"),
      eventMessageId("/b", "1"),
      eventMessageId("/a/1", ""),
      eventMessageId("/a", "1".repeat(200)),
      eventMessageId("/a", "é"),
    ];
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[\x20-\x7e]+$/);
  });
});
