/** Valid events and their hostile neighbours, for property tests and the long fuzz. */
import fc from "fast-check";
import { attributesOf } from "../../src/mesh/event/attributes.ts";
import type { Event } from "../../src/mesh/event/event.ts";
import { isText } from "../../src/mesh/event/validate.ts";

/** Strings that hurt: quotes, percent signs, blanks at the edges, non-ASCII, emoji, JSON and header syntax. */
export const hostileText = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 12 }).filter((text) => isText(text)),
  fc.string({
    unit: fc.constantFrom('"', "%", "\\", " ", "%41", "%25", "€", "😀", "a", ",", ";", "\u00a0", "{", "}"),
    maxLength: 12,
  }),
);

const nonEmptyText = hostileText.filter((text) => text !== "");

const uriReference = fc.oneof(
  fc.constantFrom(
    "/a%20b",
    "#f",
    "1-555-123",
    "urn:uuid:6e8bc430",
    "http://[::1]:80/x?y#z",
    "/a,b;c=d",
    "//h/p",
  ),
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
);

const timestamp = fc.constantFrom(
  "2026-01-31T12:00:00Z",
  "2026-01-31t12:00:00.123456789z",
  "2016-12-31T23:59:60Z",
  "2024-02-29T00:00:00-11:30",
);

export const jsonTypes = ["application/json", "application/vnd.x+json; charset=utf-8", "Text/JSON"] as const;
const otherTypes = [
  "text/plain",
  "text/plain; charset=UTF-8",
  "text/plain;charset=iso-8859-1",
  'text/x; a="b \\" € c"',
  "application/octet-stream",
  "application/cloudevents+json",
] as const;

const extensionName = fc
  .string({ unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789"), minLength: 1, maxLength: 20 })
  .filter((name) => !["data", "dataschema", "schemaurl", "datacontentencoding"].includes(name));

const extensions = fc.dictionary(
  fc.oneof(extensionName, fc.constantFrom("constructor", "traceparent", "1", "length")),
  hostileText,
  { maxKeys: 5 },
);

const bytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 60 }),
  fc.json({ maxDepth: 3 }).map((text) => new Uint8Array(Buffer.from(text))),
  nonEmptyText.map((text) => new Uint8Array(Buffer.from(text))),
  fc
    .constantFrom("1.0", "-0", "1152921504606846977", '{"a":1,"a":2}', "null", '""', "\ufeff{}", "[")
    .map((text) => new Uint8Array(Buffer.from(text))),
);

/** Any valid event of either version. */
export const arbitraryEvent: fc.Arbitrary<Event> = fc
  .record({
    extensions,
    specversion: fc.constantFrom("1.0", "1.0", "1.0", "0.3"),
    id: nonEmptyText,
    source: uriReference,
    type: nonEmptyText,
    datacontenttype: fc.option(fc.constantFrom(...jsonTypes, ...otherTypes), { nil: undefined }),
    subject: fc.option(nonEmptyText, { nil: undefined }),
    time: fc.option(timestamp, { nil: undefined }),
    data: fc.option(bytes, { nil: undefined }),
  })
  .map(({ extensions, data, ...core }) => ({ attributes: attributesOf({ ...extensions, ...core }), data }));

const headerText = fc.oneof(
  fc.string({
    unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    maxLength: 20,
  }),
  fc.constantFrom("1.0", "0.3", "/s", "t", '"', '"a\\', "%", "%E2%82", "%00", "2026-01-31T12:00:00Z"),
  hostileText,
);

const headerName = fc.oneof(
  fc.constantFrom(
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "CE-Time",
    "ce-",
    "ce-x",
    "ce-data",
    "ce-a_b",
  ),
  fc.constantFrom("content-type", "Content-Type", "ce-datacontenttype", "host"),
  headerText,
);

const contentType = fc.constantFrom(
  "application/cloudevents+json",
  "application/cloudevents-batch+json",
  "application/CloudEvents+JSON ; charset=UTF-8",
  "application/cloudevents+json; charset=utf-16",
  "application/cloudevents+avro",
  "application/json",
  "",
);

/** Raw headers of a request, from nearly right to nonsense. */
export const arbitraryRawHeaders: fc.Arbitrary<string[]> = fc
  .tuple(
    fc.array(fc.tuple(headerName, headerText), { maxLength: 8 }),
    fc.option(contentType, { nil: undefined }),
    fc.boolean(),
  )
  .map(([pairs, type, withRequired]) => {
    const raw = pairs.flat();
    if (type !== undefined) raw.push("content-type", type);
    if (withRequired) raw.push("ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "t");
    return raw;
  });

const member = fc.tuple(
  fc.oneof(
    fc.constantFrom(
      '"id"',
      '"source"',
      '"type"',
      '"specversion"',
      '"data"',
      '"data_base64"',
      '"time"',
      '"x"',
    ),
    fc.constantFrom('"datacontenttype"', '"datacontentencoding"', '"\\u0069d"', '"__proto__"', "x", '"a'),
  ),
  fc.oneof(
    fc.constantFrom(
      '"1.0"',
      '"0.3"',
      '"t"',
      "null",
      "1",
      "1.5",
      "true",
      "{}",
      "[",
      '"text/plain"',
      '"base64"',
    ),
    fc.constantFrom('"QQ=="', '"Q"', '"\\ud800"', '"\\x"', "01", "-", "1e", "nul", '{"a":[1,{"b":null}]}'),
    fc.json({ maxDepth: 2 }),
  ),
);

/** Bodies from nearly an event in JSON to noise. */
export const arbitraryBody: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc
    .tuple(
      fc.array(member, { maxLength: 8 }),
      fc.boolean(),
      fc.constantFrom("", "[", "]", ",", "\ufeff", " \n"),
    )
    .map(([members, withRequired, edge]) => {
      const all = members.map(([name, value]) => `${name}:${value}`);
      if (withRequired) all.push('"specversion":"1.0","id":"1","source":"/s","type":"t"');
      return new Uint8Array(Buffer.from(`${edge}{${all.join(",")}}`));
    }),
);
