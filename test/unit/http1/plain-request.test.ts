import { describe, expect, test } from "vitest";
import { readPlainHead } from "../../../src/mesh/http1/plain-request.ts";

const bound = 16 * 1024;
const plain =
  "POST /default/orders HTTP/1.1\r\nHost: localhost:8080\r\nce-id: 1\r\nContent-Length: 2\r\n\r\n";
const read = (text: string) => readPlainHead(Buffer.from(text, "latin1"), bound);
const withField = (field: string) => plain.replace("ce-id: 1", field);

describe("readPlainHead", () => {
  test("reads a POST with a counted body", () => {
    expect(read(`${plain}{}POST /next`)).toEqual({
      kind: "head",
      head: {
        target: "/default/orders",
        host: "localhost:8080",
        fields: ["Host", "localhost:8080", "ce-id", "1", "Content-Length", "2"],
        headBytes: plain.length,
        bodyBytes: 2,
      },
    });
  });

  test("waits for the end of the head, whatever has come of it", () => {
    for (let length = 0; length < plain.length; length++) {
      expect(read(plain.slice(0, length)).kind, `${length} bytes`).toBe("incomplete");
    }
  });

  test.each([
    ["a line that ends in LF alone", "POST /a/b HTTP/1.1\nHost: x\n\n"],
    ["a field that is none", "POST /a/b HTTP/1.1\r\nBad field\r\nHo"],
    ["a folded field", "POST /a/b HTTP/1.1\r\na: 1\r\n b\r\n"],
    ["another version", "POST /a/b HTTP/1.0\r\nHost"],
    ["no version", "POST /a/b\r\n"],
    ["CR and something else", "POST /a/b HTTP/1.1\rX"],
    ["another method", "PUT /a"],
  ])("leaves %s to others before the head is complete", (_name, text) => {
    expect(read(text).kind).toBe("other");
  });

  test.each([
    "connection: keep-alive",
    "Connection: Keep-Alive",
    "accept: */*",
    "x-expect: 100-continue",
    "content-encoding: gzip",
    "date: today",
  ])("reads one with %s", (field) => {
    expect(read(withField(field)).kind).toBe("head");
  });

  test.each([
    "Connection: close",
    "connection: upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Transfer-Encoding: chunked",
    "TE: trailers",
    "Trailer: x",
    "Prefer: wait=5",
    "Content-Length: 2",
    "content-length: 3",
    "Host: other",
    "ce-id : 1",
    " folded",
    "no colon",
    "a: 1\nb: 2",
  ])("leaves one with %j to others", (field) => {
    expect(read(withField(field)).kind).toBe("other");
  });

  test.each([
    ["another method", plain.replace("POST", "PUT")],
    ["a method in small letters", plain.replace("POST", "post")],
    ["another version", plain.replace("HTTP/1.1", "HTTP/1.0")],
    ["an absolute target", plain.replace("/default/orders", "http://localhost/default/orders")],
    ["a blank in the target", plain.replace("/default/orders", "/default/or ders")],
    ["a byte beyond ASCII in the target", plain.replace("orders", "\xf6rders")],
    ["two blanks before the target", plain.replace("POST ", "POST  ")],
    ["an empty line before it", `\r\n${plain}`],
    ["no host", plain.replace("Host", "Hoax")],
    ["no length", plain.replace("Content-Length", "Content-Lengths")],
    ["a length with a sign", plain.replace("Length: 2", "Length: +2")],
    ["a length in hexadecimal", plain.replace("Length: 2", "Length: 0x2")],
    ["two lengths in one", plain.replace("Length: 2", "Length: 2, 2")],
    ["a length beyond all reason", plain.replace("Length: 2", "Length: 10000000000")],
    ["lines that end in LF alone", plain.replaceAll("\r\n", "\n")],
    ["something else altogether", "\x16\x03\x01\x02\x00"],
    ["no request line", "\r\n\r\n"],
  ])("leaves %s to others", (_name, text) => {
    expect(read(text).kind).not.toBe("head");
    expect(read(`${text}${"x".repeat(bound)}`).kind).toBe("other");
  });

  test("leaves a head that is too long to others, complete or not", () => {
    const long = plain.replace("ce-id: 1", `ce-id: ${"1".repeat(bound)}`);
    expect(read(long).kind).toBe("other");
    expect(read(long.slice(0, bound)).kind).toBe("other");
    expect(read(long.slice(0, bound - 1)).kind).toBe("incomplete");
  });
});
