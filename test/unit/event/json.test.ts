import { describe, expect, test } from "vitest";
import { MeshError } from "../../../src/mesh/errors.ts";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";
import type { Event } from "../../../src/mesh/event/event.ts";
import {
  decodeJson,
  decodeJsonBatch,
  encodeJson,
  encodeJsonBatch,
  eventFromJson,
  toJsonObject,
} from "../../../src/mesh/event/json.ts";

const base = { specversion: "1.0", id: "1", source: "/s", type: "t" };
const base03 = { ...base, specversion: "0.3" };

/** An event's JSON with some members more, given as text. */
function withMembers(members: string, specversion = "1.0"): Buffer {
  const head = `{"specversion":"${specversion}","id":"1","source":"/s","type":"t"`;
  return Buffer.from(members === "" ? `${head}}` : `${head},${members}}`);
}

function textOf({ data }: Event): string | undefined {
  return data === undefined ? undefined : Buffer.from(data).toString();
}

function refusal(call: () => unknown): MeshError {
  try {
    call();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe("decodeJson attributes (json-format.md §2)", () => {
  test.each([
    ['"ext":"a"', "a"],
    ['"ext":""', ""],
    ['"ext":"\\u20ac\\n"', undefined],
    ['"ext":"\\u20ac \\ud83d\\ude00 \\/\\\\"', "€ 😀 /\\"],
    ['"ext":"é€😀"', "é€😀"],
    ['"ext":true', "true"],
    ['"ext":false', "false"],
    ['"ext":5', "5"],
    ['"ext":-2147483648', "-2147483648"],
    ['"ext":2147483647', "2147483647"],
    ['"ext":-0', "0"],
    ['"e\\u0078t":"x"', "x"],
  ])("reads %s as %j", (members, value) => {
    if (value === undefined) expect(() => decodeJson(withMembers(members))).toThrow(MeshError);
    else expect(decodeJson(withMembers(members)).attributes.ext).toBe(value);
  });

  test("takes null as absent", () => {
    const event = decodeJson(
      withMembers('"ext":null,"subject":null,"datacontenttype":null,"data_base64":null'),
    );
    expect(event).toEqual({ attributes: base, data: undefined });
  });

  test("takes white space anywhere between tokens", () => {
    const body = Buffer.from(' \r\n{\t"specversion" : "1.0" , "id":"1","source":"/s","type":"t" }\n');
    expect({ ...decodeJson(body).attributes }).toEqual(base);
  });

  test("treats names of Object.prototype as plain extensions", () => {
    const { attributes } = decodeJson(withMembers('"constructor":"c","valueof":"v"'));
    expect(attributes.constructor as unknown).toBe("c");
    expect((attributes as Record<string, unknown>).toString).toBeUndefined();
  });

  test.each([
    ["an object", '"ext":{}', "ext"],
    ["an array", '"ext":[1]', "ext"],
    ["a fraction", '"ext":1.5', "ext"],
    ["a fraction of zero", '"ext":1.0', "ext"],
    ["an exponent", '"ext":1e3', "ext"],
    ["over int32", '"ext":2147483648', "ext"],
    ["under int32", '"ext":-2147483649', "ext"],
    ["a huge number", `"ext":${"9".repeat(400)}`, "ext"],
    ["a number for subject", '"subject":5', "subject"],
    ["a boolean for subject", '"subject":true', "subject"],
    ["upper case in a name", '"MyExt":"x"', "MyExt"],
    ["an underscore in a name", '"my_ext":1', "my_ext"],
    ["__proto__", '"__proto__":"x"', "__proto__"],
    ["an empty name", '"":"x"', ""],
    ["a duplicate", '"id":"2"', "id"],
    ["a duplicate spelt with an escape", '"\\u0069d":"2"', "id"],
    ["a duplicate extension", '"ext":"1","ext":"1"', "ext"],
    ["null after a value", '"id":null', "id"],
    ["null twice", '"ext":null,"ext":null', "ext"],
    ["a value after null", '"ext":null,"ext":"x"', "ext"],
    ["an unpaired surrogate", '"ext":"\\ud800"', "ext"],
    ["a noncharacter", '"ext":"\\uffff"', "ext"],
    ["an empty subject", '"subject":""', "subject"],
    ["data twice", '"data":1,"data":1', "data"],
    ["both data members", '"data":1,"data_base64":"QQ=="', "data_base64"],
    ["data null and data_base64", '"data":null,"data_base64":"QQ=="', "data_base64"],
    ["an id that is a number, a type that is one too", '"time":5', "time"],
  ])("refuses %s (sheet §2.5, §4)", (_, members, field) => {
    const { code, detail } = refusal(() => decodeJson(withMembers(members)));
    expect(code).toBe("EVENT_INVALID");
    expect(detail.field).toBe(field);
  });

  test.each([
    '{"specversion":"1.0","id":25,"source":"/s","type":"t"}',
    '{"specversion":1.0,"id":"1","source":"/s","type":"t"}',
    '{"specversion":"1.0","source":"/s","type":"t"}',
    '{"specversion":"1.1","id":"1","source":"/s","type":"t"}',
    "{}",
    "[]",
    "null",
    '"x"',
    "",
    "   ",
    "{",
    '{"id"',
    '{"id":',
    '{"id":"1"',
    '{"id":"1",}',
    "{,}",
    '{"id":"1"}}',
    `${withMembers("")}x`,
    `\ufeff${withMembers("")}`,
    `${withMembers('"data":{"a":[1,2,{"b":]}}')}`,
    `${withMembers('"data":[1 2]')}`,
    `${withMembers('"data":{"a":1,"b"}')}`,
    `${withMembers('"data":01')}`,
    `${withMembers('"data":+1')}`,
    `${withMembers('"data":nul')}`,
    `${withMembers('"data":"a\nb"')}`,
    `${withMembers('"data":"\\x"')}`,
    `${withMembers('"data":"\\u12g4"')}`,
    `${withMembers("'data':1")}`,
    `${withMembers('"data":1 /* c */')}`,
    `${withMembers('"data":NaN')}`,
  ])("refuses the body %j", (body) => {
    expect(refusal(() => decodeJson(Buffer.from(body))).code).toBe("EVENT_INVALID");
  });

  test("refuses bytes that are not UTF-8", () => {
    const body = Buffer.concat([Buffer.from('{"id":"'), Buffer.of(0xff), Buffer.from('"}')]);
    expect(refusal(() => decodeJson(body)).message).toContain("UTF-8");
  });
});

describe("decodeJson data (json-format.md §3.1)", () => {
  test.each([
    ["no data", "", undefined, undefined],
    ["no data but a type", '"datacontenttype":"text/xml"', undefined, "text/xml"],
    ["an object, no type", '"data":{"a":1}', '{"a":1}', "application/json"],
    ["a string, no type", '"data":"abc"', '"abc"', "application/json"],
    ["JSON inside a string", '"data":"{\\"a\\":1}"', '"{\\"a\\":1}"', "application/json"],
    ["null", '"data":null', "null", "application/json"],
    ["false", '"data":false', "false", "application/json"],
    ["zero", '"data":0', "0", "application/json"],
    [
      "exact numbers",
      '"data":[1.0,-0,1152921504606846977]',
      "[1.0,-0,1152921504606846977]",
      "application/json",
    ],
    ["duplicate keys", '"data":{"a":1,"a":2}', '{"a":1,"a":2}', "application/json"],
    ["inner white space", '"data" :  { "a" : 1 }  ', '{ "a" : 1 }', "application/json"],
    ["+json with parameter", '"datacontenttype":"a/B+JSON; x=y","data":1', "1", "a/B+JSON; x=y"],
    ["type after data", '"data":"abc","datacontenttype":"text/plain"', "abc", "text/plain"],
    ["text with escapes", '"datacontenttype":"text/plain","data":"\\u20ac\\n\\u0000"', "€\n\0", "text/plain"],
    ["XML", '"datacontenttype":"application/xml","data":"<a/>"', "<a/>", "application/xml"],
    ["empty text", '"datacontenttype":"text/plain","data":""', undefined, "text/plain"],
    ["base64, no type", '"data_base64":"QUI="', "AB", undefined],
    [
      "base64, JSON type",
      '"datacontenttype":"application/json","data_base64":"e30="',
      "{}",
      "application/json",
    ],
    ["base64 with escaped slashes", '"data_base64":"Pz8\\/"', "???", undefined],
    ["empty base64", '"data_base64":""', undefined, undefined],
    ["null and null", '"data_base64":null,"data":null', "null", "application/json"],
  ])("reads %s", (_, members, text, datacontenttype) => {
    const event = decodeJson(withMembers(members));
    expect(textOf(event)).toBe(text);
    expect(event.attributes.datacontenttype).toBe(datacontenttype);
  });

  test("writes text in the charset its type names", () => {
    const event = decodeJson(withMembers('"datacontenttype":"text/plain; charset=ISO-8859-1","data":"é"'));
    expect([...(event.data ?? [])]).toEqual([0xe9]);
    const inUtf16 = withMembers('"datacontenttype":"text/plain; charset=utf-16","data":"é"');
    expect(refusal(() => decodeJson(inUtf16)).status).toBe(415);
  });

  test.each([
    ["an object under a text type", '"datacontenttype":"text/plain","data":{}'],
    ["null under a text type", '"datacontenttype":"text/plain","data":null'],
    ["an unpaired surrogate in text", '"datacontenttype":"text/plain","data":"\\udc00"'],
    ["base64 that is a number", '"data_base64":1'],
    ["base64 without padding", '"data_base64":"QQ"'],
    ["base64 with other characters", '"data_base64":"QQ=\\n"'],
    ["url-safe base64", '"data_base64":"Pz8_"'],
    ["base64 with padding inside", '"data_base64":"Q=Q="'],
  ])("refuses %s", (_, members) => {
    expect(refusal(() => decodeJson(withMembers(members))).code).toBe("EVENT_INVALID");
  });

  test("gives a view of the body instead of a copy", () => {
    const body = withMembers('"data":{"a":1}');
    expect(decodeJson(body).data?.buffer).toBe(body.buffer);
  });

  test("reads data nested a million deep without a stack", () => {
    const data = `${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}`;
    expect(decodeJson(withMembers(`"data":${data}`)).data?.length).toBe(data.length);
    expect(() => decodeJson(withMembers(`"data":${"[{".repeat(100_000)}`))).toThrow(MeshError);
  });

  test("keeps which bracket belongs to which over many levels", () => {
    const open = Array.from({ length: 200 }, (_, level) => (level % 3 === 0 ? "[" : '{"a":'));
    const close = open.map((bracket) => (bracket === "[" ? "]" : "}")).reverse();
    const data = `${open.join("")}1${close.join("")}`;
    expect(textOf(decodeJson(withMembers(`"data":${data}`)))).toBe(data);
    for (let at = 0; at < close.length; at += 1) {
      const swapped = close.with(at, close[at] === "]" ? "}" : "]").join("");
      expect(() => decodeJson(withMembers(`"data":${open.join("")}1${swapped}`))).toThrow(MeshError);
    }
  });
});

describe("decodeJson of 0.3 (json-format.md 0.3 §3.1)", () => {
  test("decodes data under datacontentencoding base64, which is gone then", () => {
    const event = decodeJson(withMembers('"datacontentencoding":"base64","data":"AP8="', "0.3"));
    expect({ ...event.attributes }).toEqual(base03);
    expect([...(event.data ?? [])]).toEqual([0, 255]);
    expect(JSON.parse(Buffer.from(encodeJson(event)).toString())).toEqual({
      ...base03,
      datacontentencoding: "base64",
      data: "AP8=",
    });
  });
  test("reads other data as 1.0 does and keeps its own attributes", () => {
    const event = decodeJson(withMembers('"schemaurl":"http://h/s","data":{"a":1}', "0.3"));
    expect({ ...event.attributes }).toEqual({
      ...base03,
      schemaurl: "http://h/s",
      datacontenttype: "application/json",
    });
  });
  test("keeps base64 that an event announced in binary mode", () => {
    const attributes = attributesOf({ ...base03, datacontentencoding: "base64" });
    const written = JSON.parse(Buffer.from(encodeJson({ attributes, data: Buffer.from("QQ==") })).toString());
    expect(written).toEqual({ ...base03, datacontentencoding: "base64", data: "QQ==" });
  });
  test.each([
    ["data_base64", '"data_base64":"QQ=="'],
    ["another encoding", '"datacontentencoding":"7bit","data":"x"'],
    ["base64 that is none", '"datacontentencoding":"base64","data":"?"'],
  ])("refuses %s", (_, members) => {
    expect(refusal(() => decodeJson(withMembers(members, "0.3"))).code).toBe("EVENT_INVALID");
  });
});

describe("decodeJsonBatch (json-format.md §4)", () => {
  test("reads all events, an empty batch too", () => {
    expect(decodeJsonBatch(Buffer.from(" [ ] "))).toEqual([]);
    const body = Buffer.from(`[ ${withMembers('"data":1')} , ${withMembers("")}\n]`);
    expect(decodeJsonBatch(body).map(textOf)).toEqual(["1", undefined]);
  });

  test.each([
    ["an invalid element", `[${withMembers("")},${withMembers('"time":"x"')}]`, "[1].time"],
    ["an element that is no object", `[${withMembers("")},1]`, "[1]"],
    ["mixed versions", `[${withMembers("")},${withMembers("", "0.3")}]`, "[1].specversion"],
  ])("refuses all for %s and names the index", (_, body, field) => {
    const { code, detail } = refusal(() => decodeJsonBatch(Buffer.from(body)));
    expect(code).toBe("EVENT_INVALID");
    expect(detail.field).toBe(field);
  });

  test.each(["{}", "[", "[,]", `[${withMembers("")},]`, `[${withMembers("")}`, `[${withMembers("")}]]`, ""])(
    "refuses %j",
    (body) => {
      expect(refusal(() => decodeJsonBatch(Buffer.from(body))).code).toBe("EVENT_INVALID");
    },
  );

  test("refuses more events than the limit with 413", () => {
    const body = Buffer.from(`[${Array.from({ length: 3 }, () => withMembers("")).join(",")}]`);
    expect(refusal(() => decodeJsonBatch(body, { batchEventsMax: 2 })).status).toBe(413);
    expect(decodeJsonBatch(body, { batchEventsMax: 3 }).length).toBe(3);
  });
});

describe("encodeJson (json-format.md §3.1, sheet §4.4)", () => {
  const attributesJson = '"specversion":"1.0","id":"1","source":"/s","type":"t"';
  test.each([
    ["no data", undefined, undefined, ""],
    ["JSON", "application/json", "[1.0]", ',"datacontenttype":"application/json","data":[1.0]'],
    ["+json", "a/b+json", '"x"', ',"datacontenttype":"a/b+json","data":"x"'],
    [
      "JSON that is none",
      "application/json",
      "{",
      ',"datacontenttype":"application/json","data_base64":"ew=="',
    ],
    ["text", "text/plain", 'a"\n', ',"datacontenttype":"text/plain","data":"a\\"\\n"'],
    [
      "text, latin-1",
      "text/x;charset=latin1",
      "a",
      ',"datacontenttype":"text/x;charset=latin1","data_base64":"YQ=="',
    ],
    ["another type", "image/png", "a", ',"datacontenttype":"image/png","data_base64":"YQ=="'],
    ["no type", undefined, "{}", ',"data_base64":"e30="'],
    ["an empty body", "application/json", "", ',"datacontenttype":"application/json"'],
  ])("writes %s", (_, datacontenttype, data, expected) => {
    const event = {
      attributes: attributesOf({ ...base, datacontenttype }),
      data: data === undefined ? undefined : Buffer.from(data),
    };
    expect(Buffer.from(encodeJson(event)).toString()).toBe(`{${attributesJson}${expected}}`);
  });

  test("writes a batch as an array", () => {
    const event = { attributes: attributesOf(base), data: undefined };
    const one = `{${attributesJson}}`;
    expect(Buffer.from(encodeJsonBatch([])).toString()).toBe("[]");
    expect(Buffer.from(encodeJsonBatch([event, event])).toString()).toBe(`[${one},${one}]`);
  });
});

describe("eventFromJson", () => {
  test("takes plain objects, dates and bytes", () => {
    const event = eventFromJson({
      ...base,
      time: new Date(0),
      flag: true,
      count: 3,
      absent: undefined,
      data: Uint8Array.of(1, 2),
    });
    expect({ ...event.attributes }).toEqual({
      ...base,
      time: "1970-01-01T00:00:00.000Z",
      flag: "true",
      count: "3",
    });
    expect([...(event.data ?? [])]).toEqual([1, 2]);
    expect([...(eventFromJson({ ...base03, data: Uint8Array.of(1, 2) }).data ?? [])]).toEqual([1, 2]);
  });

  const circular: Record<string, unknown> = { ...base };
  circular.data = circular;
  test.each([
    ["nothing", undefined],
    ["null", null],
    ["a string", "x"],
    ["a function", () => 1],
    ["a bigint", { ...base, data: 1n }],
    ["a circle", circular],
    ["a missing id", { ...base, id: undefined }],
    ["an object as extension", { ...base, ext: {} }],
  ])("refuses %s", (_, object) => {
    expect(refusal(() => eventFromJson(object)).code).toBe("EVENT_INVALID");
  });
});

describe("toJsonObject", () => {
  test.each([
    ["JSON parsed", "application/json", '{"a":[1]}', { data: { a: [1] } }],
    ["text as a string", "text/plain", "x", { data: "x" }],
    ["other bytes as base64", "image/png", "x", { data_base64: "eA==" }],
    ["invalid JSON as base64", "application/json", "{", { data_base64: "ew==" }],
    ["no data as none", "application/json", "", {}],
  ])("gives %s", (_, datacontenttype, data, expected) => {
    const event = { attributes: attributesOf({ ...base, datacontenttype }), data: Buffer.from(data) };
    expect(toJsonObject(event)).toEqual({ ...base, datacontenttype, ...expected });
  });

  test("gives JSON too deep to print as base64", () => {
    const deep = Buffer.from(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
    const attributes = attributesOf({ ...base, datacontenttype: "application/json" });
    const object = toJsonObject({ attributes, data: deep });
    expect(JSON.stringify(object)).toContain("data_base64");
    expect(eventFromJson(object).data?.length).toBe(deep.length);
  });
});
