/** What every way of putting an event on a wire must hold, whatever the wire. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attributesOf } from "../../src/mesh/event/attributes.ts";
import type { Event } from "../../src/mesh/event/event.ts";
import { isJsonText } from "../../src/mesh/event/json-text.ts";
import { isJsonType } from "../../src/mesh/event/media-type.ts";
import { arbitraryEvent } from "../fuzz/arbitrary-event.ts";

export interface Codec {
  readonly name: string;
  /** Writes the event and reads it back. */
  roundTrip(event: Event): Event;
  /** A JSON form: loses the white space around JSON data, and nothing else. */
  readonly isJson: boolean;
  /** What the mode cannot say at all; everything when left out. */
  carries?(event: Event): boolean;
}

const seed = 20260131;
const numRuns = 300;

export function codecContract({ name, roundTrip, isJson, carries = () => true }: Codec): void {
  const base = { specversion: "1.0", id: "1", source: "/s", type: "t" };
  const expected = (event: Event): Event => (isJson ? withTrimmedJson(event) : event);

  describe(`${name} codec`, () => {
    test("passes every valid event unchanged", () => {
      fc.assert(
        fc.property(arbitraryEvent.filter(carries), (event) => {
          expect(plain(roundTrip(event))).toEqual(plain(expected(event)));
        }),
        { seed, numRuns },
      );
    });

    test("passes what it passed once unchanged again", () => {
      fc.assert(
        fc.property(arbitraryEvent.filter(carries), (event) => {
          const once = roundTrip(event);
          expect(plain(roundTrip(once))).toEqual(plain(once));
        }),
        { seed: seed + 1, numRuns },
      );
    });

    test.each([
      ["a quote and a backslash", 'a"b\\c'],
      ["percent signs", "100% %41 %zz %2520"],
      ["blanks at the edges", "  a  "],
      ["a quoted string", '"a b"'],
      ["non-ASCII", "Euro € é \u00a0"],
      ["an emoji", "😀👩‍👩‍👧"],
      ["a byte order mark", "\ufeffa"],
      ["a replacement character", "\ufffd"],
      ["nothing, in an extension", ""],
    ])("keeps %s in a value", (_, value) => {
      const event = { attributes: attributesOf({ ...base, ext: value }), data: undefined };
      expect(roundTrip(event).attributes.ext).toBe(value);
    });

    test.each([
      ["numbers JavaScript cannot hold", "application/json", "[1152921504606846977,1.0,-0,1e400]"],
      ["duplicate keys and their order", "application/json", '{"b":1,"a":2,"b":3}'],
      ["inner white space", "application/json", '{ "a" : [ 1 ] }'],
      ["a JSON string", "application/json", '"abc"'],
      ["null", "application/json", "null"],
      ["invalid JSON under a JSON type", "application/json", "{not json"],
      ["text", "text/plain", "näive\n\0"],
      ["text that looks like JSON", "text/plain", '{"a":1}'],
    ])("keeps data byte for byte: %s", (_, datacontenttype, text) => {
      const data = Buffer.from(text);
      const event = { attributes: attributesOf({ ...base, datacontenttype }), data };
      const read = roundTrip(event);
      expect(Buffer.from(read.data ?? []).toString()).toBe(text);
      expect(read.attributes.datacontenttype).toBe(datacontenttype);
    });

    test.each([
      ["every byte, type unknown", undefined],
      ["every byte, JSON claimed", "application/json"],
      ["every byte, text claimed", "text/plain; charset=utf-8"],
      ["every byte, binary", "application/octet-stream"],
    ])("keeps data byte for byte: %s", (_, datacontenttype) => {
      const data = Uint8Array.from({ length: 256 }, (__, byte) => byte);
      const read = roundTrip({ attributes: attributesOf({ ...base, datacontenttype }), data });
      expect([...(read.data ?? [])]).toEqual([...data]);
      expect(read.attributes.datacontenttype).toBe(datacontenttype);
    });

    test("tells no data from data null", () => {
      const attributes = attributesOf({ ...base, datacontenttype: "application/json" });
      expect(roundTrip({ attributes, data: undefined }).data).toBeUndefined();
      expect(Buffer.from(roundTrip({ attributes, data: Buffer.from("null") }).data ?? []).toString()).toBe(
        "null",
      );
    });

    test("keeps an event of version 0.3 one of 0.3", () => {
      const event = {
        attributes: attributesOf({ ...base, specversion: "0.3", schemaurl: "http://h/s" }),
        data: Uint8Array.of(0, 255),
      };
      expect(plain(roundTrip(event))).toEqual(plain(event));
    });
  });
}

function withTrimmedJson({ attributes, data }: Event): Event {
  if (data === undefined || !isJsonType(attributes.datacontenttype ?? "") || !isJsonText(data)) {
    return { attributes, data };
  }
  const text = Buffer.from(data).toString("latin1");
  return { attributes, data: Buffer.from(text.replace(/^[ \n\r\t]+|[ \n\r\t]+$/g, ""), "latin1") };
}

function plain({ attributes, data }: Event): unknown {
  return { attributes: { ...attributes }, data: data === undefined ? undefined : [...data] };
}
