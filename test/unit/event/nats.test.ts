import { describe, expect, test } from "vitest";
import { MeshError } from "../../../src/mesh/errors.ts";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";
import { decodeNats, encodeNatsHeaders } from "../../../src/mesh/event/nats.ts";

const base = { specversion: "1.0", id: "1", source: "/s", type: "t" };
const inJson = Buffer.from('{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}');
const binary: [string, string[]][] = Object.entries(base).map(([name, value]) => [`ce-${name}`, [value]]);

function refusal(headers: [string, string[]][], payload: string): MeshError {
  try {
    decodeNats(headers, Buffer.from(payload));
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

test("encodeNatsHeaders writes every attribute as an encoded ce- header (NATS binding §3.1)", () => {
  const attributes = attributesOf({ ...base, datacontenttype: "text/plain; a=b", subject: "é" });
  expect(encodeNatsHeaders({ attributes, data: undefined })).toEqual([
    ...["ce-specversion", "1.0"],
    ...["ce-id", "1"],
    ...["ce-source", "/s"],
    ...["ce-type", "t"],
    ...["ce-datacontenttype", "text/plain;%20a=b"],
    ...["ce-subject", "%C3%A9"],
  ]);
});

describe("decodeNats (sheet §3.4)", () => {
  test.each(["Content-Type", "content-type", "CONTENT-TYPE"])("reads structured mode by %s", (name) => {
    const event = decodeNats(
      [
        [name, ["Application/CloudEvents+JSON; charset=UTF-8"]],
        ["ce-id", ["other"]],
      ],
      inJson,
    );
    expect({ ...event.attributes }).toEqual({ ...base, datacontenttype: "application/json" });
  });

  test("reads binary mode, names in any case, others ignored", () => {
    const headers: [string, string[]][] = [
      ["Nats-Msg-Id", ["x"]],
      ["CE-SpecVersion", ["1.0"]],
      ["Ce-Id", ["1"]],
      ["ce-SOURCE", ["/s"]],
      ["ce-type", ["t"]],
      ["ce-datacontenttype", ["text/plain;%20a=b"]],
      ["ce-ext", ['"a b"']],
      ["ce-raw", ["é"]],
      ["my_header", ["x"]],
    ];
    const event = decodeNats(headers, Buffer.from("x"));
    expect({ ...event.attributes }).toEqual({
      ...base,
      datacontenttype: "text/plain; a=b",
      ext: "a b",
      raw: "é",
    });
    expect(Buffer.from(event.data ?? []).toString()).toBe("x");
    expect(decodeNats(headers, Buffer.alloc(0)).data).toBeUndefined();
  });

  test("takes Content-Type as datacontenttype when there is no other", () => {
    const contentType: [string, string[]] = ["content-type", ["text/plain"]];
    expect(decodeNats([...binary, contentType], inJson).attributes.datacontenttype).toBe("text/plain");
    const own: [string, string[]] = ["ce-datacontenttype", ["a/b"]];
    expect(decodeNats([contentType, ...binary, own], inJson).attributes.datacontenttype).toBe("a/b");
  });

  test("reads what publishers of 1.0.2 send: JSON without headers", () => {
    expect(decodeNats([], inJson).attributes.id).toBe("1");
    expect(decodeNats([["x-other", ["1"]]], Buffer.from(` ${inJson}`)).attributes.id).toBe("1");
  });

  test("reads attributes larger than ingress takes, refuses without end", () => {
    const large = "x".repeat(100_000);
    expect(decodeNats([...binary, ["ce-ext", [large]]], inJson).attributes.ext?.length).toBe(large.length);
    expect(refusal([...binary, ["ce-ext", [large + large]]], "").code).toBe("HEADERS_TOO_LARGE");
  });

  test.each([
    ["no event at all", [], "hello", "EVENT_INVALID"],
    ["an empty message", [], "", "EVENT_INVALID"],
    ["JSON that is no event", [], '{"a":1}', "EVENT_INVALID"],
    ["a batch", [["Content-Type", ["application/cloudevents-batch+json"]]], "[]", "FORMAT_UNSUPPORTED"],
    ["another format", [["Content-Type", ["application/cloudevents+avro"]]], "x", "FORMAT_UNSUPPORTED"],
    [
      "another charset",
      [["Content-Type", ["application/cloudevents+json;charset=utf-16"]]],
      "x",
      "FORMAT_UNSUPPORTED",
    ],
    ["a header twice", [...binary, ["ce-ext", ["1", "1"]]], "", "EVENT_INVALID"],
    ["a header twice in another case", [...binary, ["CE-ID", ["1"]]], "", "EVENT_INVALID"],
    ["an incomplete event", binary.slice(0, 2), "", "EVENT_INVALID"],
    ["bad UTF-8", [...binary, ["ce-ext", ["%C0%A0"]]], "", "EVENT_INVALID"],
    ["a bad name", [...binary, ["ce-my_ext", ["x"]]], "", "EVENT_INVALID"],
    ["a letter that is ASCII only once lowered", [...binary, ["ce-\u212a", ["x"]]], "", "EVENT_INVALID"],
  ] as [string, [string, string[]][], string, string][])("refuses %s", (_, headers, payload, code) => {
    expect(refusal(headers, payload).code).toBe(code);
  });
});
