import { Kind, type MsgArg, Parser, type ParserEvent } from "@nats-io/nats-core/internal";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameParser } from "../../../src/mesh/nats/frame-parser.ts";

interface Seen {
  readonly kind: string;
  readonly message?: Record<string, unknown>;
  readonly data?: string;
}

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("latin1");

function seen({ kind, msg, data }: ParserEvent): Seen {
  const name = Object.entries(Kind).find(([, value]) => value === kind)?.[0] ?? String(kind);
  return { kind: name, ...(msg === undefined ? {} : { message: plain(msg) }), data: text(data) };
}

const plain = ({ subject, reply, sid, hdr, size }: MsgArg) => ({
  subject: text(subject),
  reply: text(reply),
  sid,
  hdr,
  size,
});

type Make = (dispatcher: { push: (event: ParserEvent) => void }) => Parser;
const theirs: Make = (dispatcher) => new Parser(dispatcher);
const ours: Make = (dispatcher) => new FrameParser(dispatcher);

/** What a parser dispatches when the bytes come in these pieces. */
function read(make: Make, pieces: readonly Uint8Array[]): readonly Seen[] {
  const events: Seen[] = [];
  const parser = make({ push: (event) => events.push(seen(event)) });
  for (const piece of pieces) parser.parse(piece);
  return events;
}

/** Cut at these places of the whole, given as shares of its length. */
function cut(bytes: Buffer, shares: readonly number[]): readonly Buffer[] {
  const places = shares.map((share) => Math.floor(share * bytes.length)).toSorted((a, b) => a - b);
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length));
}

const token = fc.stringMatching(/^[A-Za-z0-9$_-]{1,12}$/);
const subject = fc.array(token, { minLength: 1, maxLength: 6 }).map((tokens) => tokens.join("."));
const message = fc
  .record({
    subject: fc.oneof(subject, fc.constant("köln.größe")),
    sid: fc.integer({ min: 1, max: 99_999 }),
    reply: fc.option(subject, { nil: undefined }),
    headers: fc.option(fc.constantFrom("", "a: 1\r\n", "NATS: \r\nb: 2\r\n"), { nil: undefined }),
    data: fc.uint8Array({ maxLength: 300 }),
    gap: fc.constantFrom(" ", " ", " ", "  ", "\t"),
    command: fc.constantFrom("upper", "upper", "upper", "lower"),
  })
  .map(({ subject, sid, reply, headers, data, gap, command }) => {
    const block = headers === undefined ? "" : `NATS/1.0\r\n${headers}\r\n`;
    const size = block.length + data.length;
    const name = headers === undefined ? "MSG" : "HMSG";
    const parts = [command === "upper" ? name : name.toLowerCase(), subject, sid];
    if (reply !== undefined) parts.push(reply);
    if (headers !== undefined) parts.push(block.length);
    return Buffer.concat([
      Buffer.from(`${[...parts, size].join(gap)}\r\n${block}`),
      data,
      Buffer.from("\r\n"),
    ]);
  });
const otherLine = fc
  .constantFrom(
    "PING\r\n",
    "PONG\r\n",
    "+OK\r\n",
    "-ERR 'no'\r\n",
    'INFO {"version":"2.15.1","max_payload":1}\r\n',
  )
  .map((line) => Buffer.from(line));
const frames = fc.array(fc.oneof({ weight: 4, arbitrary: message }, otherLine), { maxLength: 12 });
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 });

describe("FrameParser", () => {
  test("F1: dispatches what nats.js's parser does, however the bytes are cut", () => {
    fc.assert(
      fc.property(frames, cuts, (frames, cuts) => {
        const bytes = Buffer.concat(frames);
        expect(read(ours, cut(bytes, cuts))).toEqual(read(theirs, [bytes]));
      }),
      { numRuns: 2000 },
    );
  });

  test("F1: also byte by byte", () => {
    fc.assert(
      fc.property(frames, (frames) => {
        const bytes = Buffer.concat(frames);
        expect(
          read(
            ours,
            cut(
              bytes,
              Array.from(bytes, (_, i) => i / bytes.length),
            ),
          ),
        ).toEqual(read(theirs, [bytes]));
      }),
      { numRuns: 200 },
    );
  });

  test("lets the parser before it end what that has begun", () => {
    fc.assert(
      fc.property(frames, cuts, fc.nat({ max: 8 }), (frames, cuts, at) => {
        const bytes = Buffer.concat(frames);
        const pieces = cut(bytes, cuts);
        const events: Seen[] = [];
        const dispatcher = { push: (event: ParserEvent) => void events.push(seen(event)) };
        let parser = new Parser(dispatcher);
        for (const [i, piece] of pieces.entries()) {
          if (i === at) parser = new FrameParser(dispatcher, parser);
          parser.parse(piece);
        }
        expect(events).toEqual(read(theirs, [bytes]));
      }),
      { numRuns: 1000 },
    );
  });

  test("F2: a whole message is not copied, one in pieces is a whole again", () => {
    const datas: Uint8Array[] = [];
    const parser = new FrameParser({ push: ({ data }: ParserEvent) => void (data && datas.push(data)) });
    const whole = Buffer.from("MSG a 1 3\r\nabc\r\nMSG a 1 6\r\nde");
    parser.parse(whole);
    parser.parse(Buffer.from("f"));
    parser.parse(Buffer.from("ghi\r\nMSG a 1 1\r\nj\r\n"));
    expect(datas.map(text)).toEqual(["abc", "defghi", "j"]);
    expect(datas[0]?.buffer).toBe(whole.buffer);
  });

  test("F2: what follows a first line in pieces is not copied with it", () => {
    const buffers: (ArrayBufferLike | undefined)[] = [];
    const parser = new FrameParser({ push: ({ data }: ParserEvent) => void buffers.push(data?.buffer) });
    parser.parse(Buffer.from("MSG a 1"));
    const rest = Buffer.from(" 2\r\nhi\r\nMSG a 1 2\r\nho\r\n");
    parser.parse(rest);
    expect(buffers).toHaveLength(2);
    expect(buffers[1]).toBe(rest.buffer);
  });

  test("takes a message of the largest size in many pieces", () => {
    const size = 8 * 1024 * 1024;
    const bytes = Buffer.concat([
      Buffer.from(`MSG big 7 ${size}\r\n`),
      Buffer.alloc(size, "x"),
      Buffer.from("\r\n"),
    ]);
    const lengths: number[] = [];
    const parser = new FrameParser({
      push: ({ data }: ParserEvent) => void lengths.push(data?.length ?? -1),
    });
    for (let at = 0; at < bytes.length; at += 65_536) parser.parse(bytes.subarray(at, at + 65_536));
    expect(lengths).toEqual([size]);
  });

  test.each([
    ["no sid", "MSG a 1\r\n"],
    ["a sid that is no number", "MSG a x 1\r\n"],
    ["a size that is no number", "MSG a 1 -1\r\n"],
    ["a size beyond what nats.js takes", "MSG a 1 67108865\r\n"],
    ["headers larger than all", "HMSG a 1 5 4\r\n"],
    ["headers without their size", "HMSG a 1 5\r\n"],
    ["too many words", "MSG a 1 b c 5\r\n"],
    ["another command", "MIST a 1 5\r\n"],
    ["what is no line of the protocol", "GET / HTTP/1.1\r\n"],
  ])("F3: refuses %s, as nats.js does", (_name, line) => {
    expect(() => read(theirs, [Buffer.from(line)])).toThrow();
    expect(() => read(ours, [Buffer.from(line)])).toThrow();
  });

  test("F3: refuses a line without end", () => {
    const parser = new FrameParser({ push: () => {} });
    parser.parse(Buffer.from("INFO "));
    const more = Buffer.alloc(65_536, "x");
    expect(() => {
      for (let i = 0; i < 20; i++) parser.parse(more);
    }).toThrow(/endless line/);
  });
});
