import { describe, expect, test } from "vitest";
import { AnswerReader, type Reading } from "../../../src/mesh/http1/answer-reader.ts";

const bodyBytesMax = 100;

/** What came of these pieces, fed until something did; then the peer closes. The reader gets each in one buffer. */
function readPieces(pieces: readonly Buffer[]): Reading {
  const reader = new AnswerReader({ bodyBytesMax });
  const shared = Buffer.alloc(Math.max(1, ...pieces.map(({ length }) => length)));
  for (const piece of pieces) {
    const length = piece.copy(shared);
    const reading = reader.read(shared.subarray(0, length));
    shared.fill("x");
    if (reading.kind !== "more") return reading;
  }
  const answer = reader.end();
  return answer === undefined ? { kind: "more" } : { kind: "answer", answer, idleMs: 0 };
}

/** The bytes whole, one by one, cut in two at every place, and cut at random. */
function cuts(text: string): Buffer[][] {
  const bytes = Buffer.from(text, "latin1");
  const places = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
  const cutAt = (ends: readonly number[]) =>
    [...ends, bytes.length].map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
  const random = randomNumbers(20_251_128);
  const some = Array.from({ length: 50 }, () => cutAt(places.filter(() => random() < 0.1)));
  return [[bytes], cutAt(places), ...places.map((at) => cutAt([at])), ...some];
}

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ok = "HTTP/1.1 200 OK\r\n";
const chunked = `${ok}transfer-encoding: chunked\r\n\r\n`;

describe("AnswerReader reads, however the bytes are cut,", () => {
  test.each<[string, string, { status?: number; headers?: string[]; body?: string; idleMs?: number }]>([
    [
      "a counted body",
      `${ok}Content-Length: 5\r\n\r\nhello`,
      { headers: ["Content-Length", "5"], body: "hello" },
    ],
    ["an empty body", `${ok}content-length: 0\r\n\r\n`, {}],
    [
      "a body with line ends in it",
      `${ok}content-length: 8\r\n\r\n\r\n\r\n\r\n\r\n`,
      { body: "\r\n\r\n\r\n\r\n" },
    ],
    ["bytes beyond ASCII", `${ok}a: \xe4\r\ncontent-length: 2\r\n\r\n\xff\x00`, { body: "\xff\x00" }],
    ["no reason", "HTTP/1.1 201\r\ncontent-length: 0\r\n\r\n", { status: 201 }],
    ["an empty reason", "HTTP/1.1 201 \r\ncontent-length: 0\r\n\r\n", { status: 201 }],
    ["a length said twice", `${ok}content-length: 1\r\ncontent-length: 1\r\n\r\na`, { body: "a" }],
    ["a length in a list", `${ok}content-length: 1, 1\r\n\r\na`, { body: "a" }],
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", { status: 204, headers: [] }],
    ["304, whose length is another's", "HTTP/1.1 304 x\r\ncontent-length: 9\r\n\r\n", { status: 304 }],
    ["an answer after 100", `HTTP/1.1 100 Continue\r\n\r\n${ok}content-length: 1\r\n\r\na`, { body: "a" }],
    [
      "one after 102 and 103",
      `HTTP/1.1 102 x\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\n${ok}content-length: 0\r\n\r\n`,
      {},
    ],
    ["101", "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", { status: 101, idleMs: 0 }],
    ["a body until the end", `${ok}\r\nhello`, { body: "hello", idleMs: 0 }],
    ["an empty body until the end", `${ok}\r\n`, { idleMs: 0 }],
    ["chunks", `${chunked}5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n`, { body: "hello!" }],
    ["no chunks", `${chunked}0\r\n\r\n`, {}],
    ["a chunk of line ends", `${chunked}4\r\n\r\n\r\n\r\n0\r\n\r\n`, { body: "\r\n\r\n" }],
    ["sizes in hexadecimal", `${chunked}0A\r\n0123456789\r\n00\r\n\r\n`, { body: "0123456789" }],
    ["chunk extensions", `${chunked}1;a=b\r\nx\r\n1 ; c\r\ny\r\n0;d\r\n\r\n`, { body: "xy" }],
    ["trailers", `${chunked}1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n`, { body: "x" }],
    ["CHUNKED", `${ok}Transfer-Encoding: CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n`, { body: "x" }],
    [
      "both framings by the chunks",
      `${ok}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
      { body: "x", idleMs: 0 },
    ],
    ["connection: close", `${ok}content-length: 0\r\nconnection: close\r\n\r\n`, { idleMs: 0 }],
    ["close in a list", `${ok}content-length: 0\r\nConnection: foo, Close\r\n\r\n`, { idleMs: 0 }],
    [
      "close in a second line",
      `${ok}content-length: 0\r\nconnection: foo\r\nconnection: close\r\n\r\n`,
      { idleMs: 0 },
    ],
    [
      "a hint to keep it alive",
      `${ok}content-length: 0\r\nkeep-alive: timeout=5, max=9\r\n\r\n`,
      { idleMs: 5000 },
    ],
    [
      "the hint behind another one",
      `${ok}content-length: 0\r\nKeep-Alive: max=9, timeout = 72\r\n\r\n`,
      { idleMs: 72_000 },
    ],
    ["a hint that is none", `${ok}content-length: 0\r\nkeep-alive: timeout=soon\r\n\r\n`, {}],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", { body: "a", idleMs: 0 }],
    [
      "HTTP/1.0 kept alive",
      "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
      { body: "a" },
    ],
    [
      "HTTP/1.0 in chunks",
      "HTTP/1.0 200 x\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      { idleMs: 0 },
    ],
    [
      "as long a body as may be",
      `${ok}content-length: 100\r\n\r\n${"b".repeat(100)}`,
      { body: "b".repeat(100) },
    ],
  ])("%s", (_name, text, { status = 200, headers, body = "", idleMs = Number.POSITIVE_INFINITY }) => {
    for (const pieces of cuts(text)) {
      const reading = readPieces(pieces);
      if (reading.kind !== "answer") throw new Error(`${JSON.stringify(reading)} of ${pieces.join("|")}`);
      const { answer } = reading;
      expect({ status: answer.status, body: Buffer.from(answer.body).toString("latin1") }).toEqual({
        status,
        body,
      });
      expect({ truncated: answer.truncated, idleMs: reading.idleMs }).toEqual({ truncated: false, idleMs });
      if (headers !== undefined) expect(answer.headers).toEqual(headers);
    }
  });

  test.each([
    ["a counted body", `${ok}content-length: 101\r\n\r\n${"b".repeat(101)}`],
    ["chunks", `${chunked}40\r\n${"b".repeat(64)}\r\n40\r\n${"b".repeat(64)}\r\n0\r\n\r\n`],
    ["a body until the end", `${ok}\r\n${"b".repeat(101)}`],
  ])("no more of %s than may be", (_name, text) => {
    for (const pieces of cuts(text)) {
      expect(readPieces(pieces)).toMatchObject({
        kind: "answer",
        idleMs: 0,
        answer: { status: 200, truncated: true, body: Buffer.from("b".repeat(100)) },
      });
    }
  });

  test.each([
    ["in the status line", "HTTP/1.1 2"],
    ["in the head", `${ok}content-le`],
    ["before the body", `${ok}content-length: 5\r\n\r\n`],
    ["in the body", `${ok}content-length: 5\r\n\r\nhell`],
    ["after 100", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["in a chunk", `${chunked}5\r\nhel`],
    ["before the last chunk", `${chunked}5\r\nhello\r\n`],
    ["before the end of the trailers", `${chunked}0\r\na: b\r\n`],
  ])("that an answer was cut %s", (_name, text) => {
    for (const pieces of cuts(text)) expect(readPieces(pieces)).toEqual({ kind: "more" });
  });

  test.each([
    ["something else than HTTP", "SSH-2.0-OpenSSH_9\r\n", /status line "S/],
    ["HTTP/2", "HTTP/2 200\r\n\r\n", /status line "HTTP\/2/],
    ["HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", /status line "HTTP\/1.2 200 OK"/],
    ["lower case", "http/1.1 200 OK\r\n\r\n", /status line/],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", /status line/],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", /status line/],
    ["a status that begins with 0", "HTTP/1.1 099 OK\r\n\r\n", /status line/],
    ["two blanks before the status", "HTTP/1.1  200 OK\r\n\r\n", /status line/],
    ["an empty line first", `\r\n${ok}\r\n`, /status line ""/],
    ["bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 0\n\n", /status line "HTTP\/1.1 200 OK"/],
    ["a control in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", /status line/],
    ["a header without a colon", `${ok}a: b\r\nnonsense\r\n\r\n`, /header "nonsense"/],
    ["a blank before a colon", `${ok}content-length : 0\r\n\r\n`, /header "content-length : 0"/],
    ["a folded header", `${ok}a: b\r\n c\r\n\r\n`, /header " c"/],
    ["lengths that differ", `${ok}content-length: 1\r\ncontent-length: 2\r\n\r\na`, /Content-Length "1,2"/],
    ["lengths that differ in a list", `${ok}content-length: 1, 2\r\n\r\na`, /Content-Length "1, 2"/],
    ["a length below zero", `${ok}content-length: -1\r\n\r\n`, /Content-Length "-1"/],
    ["a length in hexadecimal", `${ok}content-length: 0x1\r\n\r\na`, /Content-Length "0x1"/],
    ["an empty length", `${ok}content-length:\r\n\r\n`, /Content-Length ""/],
    ["a length no number holds", `${ok}content-length: 9999999999999999\r\n\r\n`, /Content-Length/],
    [
      "another transfer coding",
      `${ok}transfer-encoding: gzip, chunked\r\n\r\n`,
      /Transfer-Encoding "gzip, chunked"/,
    ],
    [
      "chunked twice",
      `${ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n`,
      /"chunked,chunked"/,
    ],
    ["no chunk size", `${chunked}\r\nhello`, /chunk that begins ""/],
    ["a chunk size that is none", `${chunked}5x\r\nhello`, /chunk that begins "5x"/],
    ["a chunk size below zero", `${chunked}-5\r\n`, /chunk that begins "-5"/],
    ["a chunk size too large", `${chunked}fffffffffffff\r\n`, /chunk that begins "fffff/],
    ["a line feed in a chunk's extension", `${chunked}1;a\nb\r\nx\r\n`, /chunk that begins "1;a"/],
    ["a chunk longer than its size", `${chunked}1\r\nxyz\r\n`, /chunk longer than it said/],
    ["a chunk that ends in a bare line feed", `${chunked}1\r\nx\n0\r\n\r\n`, /chunk longer than it said/],
    ["a trailer that is none", `${chunked}0\r\nnonsense\r\n\r\n`, /trailer "nonsense"/],
  ])("that %s is no answer", (_name, text, found) => {
    for (const pieces of cuts(text)) {
      expect(readPieces(pieces)).toEqual({ kind: "malformed", found: expect.stringMatching(found) });
    }
  });
});

describe("AnswerReader bounds", () => {
  const kilobyte = Buffer.alloc(1024, "a");

  test.each([
    ["a head", `${ok}a: `, /head of more than 65536 bytes/],
    ["the trailers", `${chunked}0\r\na: `, /trailers of more than 65536 bytes/],
    ["a chunk's extension", `${chunked}1;`, /chunk extensions of more than 16384 bytes/],
  ])("%s that never ends", (_name, start, found) => {
    const reader = new AnswerReader({ bodyBytesMax });
    let reading = reader.read(Buffer.from(start));
    for (let fed = 0; reading.kind === "more" && fed < 100; fed++) reading = reader.read(kilobyte);
    expect(reading).toEqual({ kind: "malformed", found: expect.stringMatching(found) });
  });

  test("a head that is complete at once", () => {
    const head = `${ok}a: ${"a".repeat(65_536)}\r\n\r\n`;
    const reading = new AnswerReader({ bodyBytesMax }).read(Buffer.from(head));
    expect(reading).toMatchObject({ found: expect.stringMatching(/head of more than/) });
  });

  test("trailers and extensions that come in many pieces", () => {
    const trailer = `a: ${"a".repeat(1000)}\r\n`;
    const trailers = `${chunked}0\r\n${trailer.repeat(66)}\r\n`;
    const extensions = `${chunked}${`1;${"a".repeat(1000)}\r\nx\r\n`.repeat(17)}0\r\n\r\n`;
    const read = (text: string) => new AnswerReader({ bodyBytesMax }).read(Buffer.from(text));
    expect(read(trailers)).toMatchObject({ found: expect.stringMatching(/trailers of more than/) });
    expect(read(extensions)).toMatchObject({ found: expect.stringMatching(/extensions of more than/) });
  });
});

describe("AnswerReader on one connection", () => {
  test("reads one answer after the other", () => {
    const reader = new AnswerReader({ bodyBytesMax });
    for (const body of ["one", "two", "", "four"]) {
      const reading = reader.read(Buffer.from(`${ok}content-length: ${body.length}\r\n\r\n${body}`));
      expect(reading).toMatchObject({ kind: "answer", idleMs: Number.POSITIVE_INFINITY });
      expect(reading.kind === "answer" && Buffer.from(reading.answer.body).toString()).toBe(body);
      expect(reader.hasBegun).toBe(false);
    }
  });

  test("gives up a connection with bytes after the answer", () => {
    const reading = new AnswerReader({ bodyBytesMax }).read(Buffer.from(`${ok}content-length: 1\r\n\r\nab`));
    expect(reading).toMatchObject({ kind: "answer", idleMs: 0, answer: { body: Buffer.from("a") } });
  });

  test("knows whether an answer has begun", () => {
    const reader = new AnswerReader({ bodyBytesMax });
    expect(reader.hasBegun).toBe(false);
    reader.read(Buffer.from("H"));
    expect(reader.hasBegun).toBe(true);
  });
});
