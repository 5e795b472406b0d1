import { describe, expect, test } from "vitest";
import { headerValue, MessageReader, RequestTemplate } from "../../../bench/wire.ts";

/** Heads (first line only) and bodies of what is found in these chunks. */
function read(chunks: readonly string[]): string[][] {
  const found: string[][] = [];
  const reader = new MessageReader((head, body) =>
    found.push([head.toString().split("\r\n")[0] ?? "", body.toString()]),
  );
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return found;
}

const counted = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const empty = "HTTP/1.1 202 Accepted\r\ndate: x\r\n\r\n";
const chunked =
  "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n\r\n\r\n world\r\n0\r\n\r\n";
const trailed =
  "HTTP/1.1 203 X\r\ncontent-type: a/b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n";

const all = [
  ["HTTP/1.1 200 OK", "hello"],
  ["HTTP/1.1 202 Accepted", ""],
  ["HTTP/1.1 201 Created", "hello\r\n\r\n world"],
  ["HTTP/1.1 203 X", "hi"],
  ["HTTP/1.1 200 OK", "hello"],
];
const stream = counted + empty + chunked + trailed + counted;

describe("MessageReader", () => {
  test("must find counted, empty and chunked messages one after the other", () => {
    expect(read([stream])).toEqual(all);
  });

  test("must find the same wherever the stream is cut in two", () => {
    for (let at = 1; at < stream.length; at++) {
      expect(read([stream.slice(0, at), stream.slice(at)])).toEqual(all);
    }
  });

  test("must find the same byte by byte", () => {
    expect(read([...stream])).toEqual(all);
  });

  test("must wait for the rest of a message", () => {
    expect(read([counted.slice(0, -1)])).toEqual([]);
    expect(read([chunked.slice(0, -2)])).toEqual([]);
  });
});

test.each([
  { name: "ce-id", value: "7" },
  { name: "ce-sentus", value: "12 3" },
  { name: "ce-type", value: undefined },
  { name: "id", value: undefined },
])("headerValue must give $value for $name", ({ name, value }) => {
  const head = Buffer.from("POST /a HTTP/1.1\r\nCE-Id: 7\r\nce-sentus:  12 3 \r\n\r\n");
  expect(headerValue(head, name)).toBe(value);
});

test.each([
  { mode: "binary", ids: ["a"], bodies: 1 },
  { mode: "structured", ids: ["a"], bodies: 1 },
  { mode: "batch", ids: ["a", "b"], bodies: 2 },
] as const)("RequestTemplate must make one whole $mode request", ({ mode, ids, bodies }) => {
  const template = new RequestTemplate(new URL("http://h:1/ns/b"), { mode, size: 100, type: "t", batch: 2 });
  const found: { head: string; body: string }[] = [];
  const reader = new MessageReader((head, body) => found.push({ head: `${head}`, body: `${body}` }));
  reader.push(template.request(ids, 42));
  expect(found).toHaveLength(1);
  const { head = "", body = "" } = found[0] ?? {};
  expect(head).toMatch(/^POST \/ns\/b HTTP\/1\.1\r\nhost: h:1\r\n/);
  const parsed = JSON.parse(body);
  const events = mode === "batch" ? parsed : [parsed];
  expect(events).toHaveLength(bodies);
  expect(template.eventsPerRequest).toBe(bodies);
  const data = mode === "binary" ? parsed : events[0].data;
  expect(JSON.stringify(data)).toHaveLength(100);
});
