import { describe, expect, test } from "vitest";
import { encodePostHead, findInvalidHeader } from "../../../src/mesh/http1/request-head.ts";

const url = new URL("http://example.com/a/b?c=d#e");

describe("encodePostHead", () => {
  test("writes the request line, what belongs to HTTP, and the headers as given", () => {
    expect(encodePostHead(url, ["ce-id", "1", "X-Y", "", "x-y", "\xc3\xa4"], 7)).toBe(
      "POST /a/b?c=d HTTP/1.1\r\nhost: example.com\r\ncontent-length: 7\r\n" +
        "ce-id: 1\r\nX-Y: \r\nx-y: \xc3\xa4\r\n\r\n",
    );
  });

  test.each([
    ["http://a:80/", "a"],
    ["http://a:8080/", "a:8080"],
    ["http://user:secret@a/", "a"],
    ["http://[::1]:8080/", "[::1]:8080"],
    ["http://ÄÖ.example/", "xn--4ca0b.example"],
  ])("%s is asked for as %s", (text, host) => {
    expect(encodePostHead(new URL(text), [], 0)).toBe(
      `POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 0\r\n\r\n`,
    );
  });

  test.each([
    ["a CR", "a", "1\r"],
    ["a LF", "a", "1\nb: 2"],
    ["a line end", "a", "1\r\nb: 2"],
    ["a NUL", "a", "\0"],
    ["a DEL", "a", "\x7f"],
    ["a character whose low byte is a LF", "a", "\u010a"],
    ["no name", "", "1"],
    ["a name with a line end", "a\r\nb", "1"],
    ["a name with a colon", "a:b", "1"],
    ["a name with a blank", "a b", "1"],
    ["a name beyond ASCII", "\xe4", "1"],
    ["a second length", "Content-Length", "1"],
    ["a transfer coding", "transfer-encoding", "chunked"],
    ["a second host", "Host", "b"],
    ["a connection option", "connection", "close"],
  ])("refuses %s, every time", (_name, name, value) => {
    for (let time = 0; time < 2; time++) {
      expect(encodePostHead(url, ["ok", "1", name, value], 0)).toBeUndefined();
      expect(findInvalidHeader(["ok", "1", name, value])).toBe(JSON.stringify(name));
    }
  });

  test("finds nothing wrong with valid headers", () => {
    expect(findInvalidHeader(["a", "1", "b", "\t\xff"])).toBeUndefined();
  });
});
