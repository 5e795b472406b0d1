import { expect, test } from "vitest";
import { parseDedupe, validateAnnotations } from "../../../src/mesh/resources/annotations.ts";
import {
  formatRewind,
  parsePosition,
  parseRewind,
  parseStartPoint,
} from "../../../src/mesh/resources/start-point.ts";

const now = Date.parse("2026-01-31T12:00:00Z");

test.each([
  ["new", { kind: "new" }],
  ["first", { kind: "first" }],
  ["seq:12", { kind: "sequence", sequence: 12 }],
  ["time:2026-01-31T11:00:00Z", { kind: "time", atMs: now - 3_600_000 }],
  ["time:2026-01-31T12:00:00+01:00", { kind: "time", atMs: now - 3_600_000 }],
  ["since:PT1H", { kind: "time", atMs: now - 3_600_000 }],
  ["time:2999-01-01T00:00:00Z", { kind: "time", atMs: Date.UTC(2262, 0, 1) }],
  ["time:1900-01-01T00:00:00Z", { kind: "time", atMs: 0 }],
  ["since:P100Y", { kind: "time", atMs: 0 }],
  ["", undefined],
  ["last", undefined],
  ["seq:0", undefined],
  ["seq:1.5", undefined],
  ["seq:-1", undefined],
  ["time:yesterday", undefined],
  ["time:2026-01-31", undefined],
  ["since:1h", undefined],
  ["since:-PT1H", undefined],
  ["12", undefined],
])("parseStartPoint reads %j", (text, expected) => {
  expect(parseStartPoint(text, now)).toEqual(expected);
});

test.each([
  ["12", { kind: "sequence", sequence: 12 }],
  ["2026-01-31T11:00:00Z", { kind: "time", atMs: now - 3_600_000 }],
  ["since:PT1H", { kind: "time", atMs: now - 3_600_000 }],
  ["first", { kind: "first" }],
  ["0", undefined],
  ["yesterday", undefined],
])("parsePosition also reads bare numbers and times: %j", (text, expected) => {
  expect(parsePosition(text, now)).toEqual(expected);
});

test("parseRewind reads what formatRewind writes, and nothing else", () => {
  const rewind = { sequence: 7, at: "2026-01-31T12:00:00.000Z" };
  expect(parseRewind(formatRewind(rewind))).toEqual(rewind);
  for (const text of ["seq:7", "first@2026-01-31T12:00:00Z", "seq:7@now", `${formatRewind(rewind)}@x`]) {
    expect(parseRewind(text)).toBeUndefined();
  }
});

test.each([
  ["off", 0],
  ["PT2M", 120_000],
  ["PT0.1S", 100],
  ["P7D", 604_800_000],
  ["PT0S", undefined],
  ["P8D", undefined],
  ["2m", undefined],
  ["on", undefined],
])("parseDedupe of %j is %s", (text, expected) => {
  expect(parseDedupe(text)).toBe(expected);
});

test.each([
  ["Broker", { "weft.dev/dedupe": "off" }, true],
  ["Broker", { "weft.dev/dedupe": "5 minutes" }, false],
  ["Trigger", { "weft.dev/dedupe": "off" }, false],
  ["Trigger", { "weft.dev/start": "since:PT1H" }, true],
  ["Trigger", { "weft.dev/start": "yesterday" }, false],
  ["Broker", { "weft.dev/start": "first" }, false],
])("validateAnnotations on a %s takes %j: %s", (kind, annotations, accepted) => {
  expect(validateAnnotations(kind, annotations)).toHaveLength(accepted ? 0 : 1);
});
