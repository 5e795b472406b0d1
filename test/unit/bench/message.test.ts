import { describe, expect, test } from "vitest";
import { MessageReader } from "../../../bench/message.ts";

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
