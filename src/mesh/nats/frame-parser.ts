/**
 * Reads what comes from NATS frame by frame. nats.js's own parser looks at every byte of a message's first line;
 * here the system's search finds its end, and the rest is known from what it says. Lines that are no message go to
 * nats.js's parser.
 *
 * F1  what is dispatched, and in which order, is what that parser would dispatch, however the bytes are cut.
 * F2  a message that came whole is a view of what was read; one that came in pieces is copied once.
 * F3  a first line, and a message, that does not end is an error: the reader ends as it does with that parser.
 */
import {
  type Dispatcher,
  Kind,
  type MsgArg,
  Parser,
  type ParserEvent,
  State,
} from "@nats-io/nats-core/internal";

/** An INFO line names all servers of a cluster; that of a message has a few hundred bytes. */
const lineBytesMax = 1024 * 1024;
/** What nats.js takes as well. */
const messageBytesMax = 64 * 1024 * 1024;

const lineFeed = 0x0a;
const lowerCase = 0x20;
const m = 0x6d;
const h = 0x68;
const crlfBytes = 2;
const noHeaders = -1;
/** As nats.js has it: a number holds so many exactly. */
const countDigitsMax = 15;
/** Of what cannot be read. */
const excerptBytes = 100;

/** The first line of a message: `MSG subject sid [reply] size` or `HMSG subject sid [reply] headerSize size`. */
export class MessageLine implements MsgArg {
  readonly subjectText: string;
  /** Empty: none. */
  readonly replyText: string;
  readonly sid: number;
  /** Bytes of the headers; -1: it has none. */
  readonly hdr: number;
  /** Bytes of headers and data. */
  readonly size: number;

  constructor(subjectText: string, sid: number, replyText: string, hdr: number, size: number) {
    this.subjectText = subjectText;
    this.sid = sid;
    this.replyText = replyText;
    this.hdr = hdr;
    this.size = size;
  }

  get subject(): Uint8Array {
    return Buffer.from(this.subjectText);
  }

  get reply(): Uint8Array {
    return Buffer.from(this.replyText);
  }
}

/** A frame of which more is to come. */
interface Begun {
  readonly parts: Buffer[];
  bytes: number;
  /** Of the whole frame; undefined while its first line has not ended. */
  readonly needed: number | undefined;
}

export class FrameParser extends Parser {
  #before: Parser | undefined;
  #begun: Begun | undefined;

  /** `before`: the parser whose place it takes; it ends what it has begun. */
  constructor(dispatcher: Dispatcher<ParserEvent>, before?: Parser) {
    super(dispatcher);
    this.#before = before;
  }

  override parse(bytes: Uint8Array): void {
    if (this.#before !== undefined) {
      if (this.#before.state !== State.OP_START) {
        this.#before.parse(bytes);
        return;
      }
      this.#before = undefined;
    }
    this.#take(bufferOf(bytes));
  }

  #take(chunk: Buffer): void {
    if (this.#begun === undefined) this.#read(chunk);
    else this.#goOn(this.#begun, chunk);
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const lineEnd = chunk.indexOf(lineFeed, at);
      if (lineEnd === -1) {
        this.#begin(chunk.subarray(at), undefined);
        return;
      }
      const start = lineEnd + 1;
      const first = (chunk[at] ?? 0) | lowerCase;
      if (first !== m && first !== h) {
        super.parse(chunk.subarray(at, start));
        at = start;
        continue;
      }
      const line = readMessageLine(chunk.toString("utf8", at, lineEnd));
      if (line === undefined) {
        const excerpt = chunk.subarray(at, Math.min(lineEnd, at + excerptBytes));
        throw this.fail(excerpt, "not the first line of a message");
      }
      const end = start + line.size + crlfBytes;
      if (end > chunk.length) {
        this.#begin(chunk.subarray(at), end - at);
        return;
      }
      this.dispatcher.push({ kind: Kind.MSG, msg: line, data: chunk.subarray(start, start + line.size) });
      at = end;
    }
  }

  #begin(part: Buffer, needed: number | undefined): void {
    this.#begun = { parts: [part], bytes: part.length, needed };
    this.#requireEnd(this.#begun);
  }

  /** A first line is put together before its message: where that ends is not known earlier. */
  #goOn(begun: Begun, chunk: Buffer): void {
    const { parts, bytes, needed } = begun;
    const missing = needed === undefined ? lineBytesIn(chunk) : needed - bytes;
    if (missing === undefined || chunk.length < missing) {
      parts.push(chunk);
      begun.bytes += chunk.length;
      this.#requireEnd(begun);
      return;
    }
    this.#begun = undefined;
    this.#read(Buffer.concat([...parts, chunk.subarray(0, missing)]));
    if (missing < chunk.length) this.#take(chunk.subarray(missing));
  }

  /** F3. */
  #requireEnd({ parts, bytes, needed }: Begun): void {
    if (needed !== undefined || bytes <= lineBytesMax) return;
    throw this.fail((parts[0] ?? Buffer.alloc(0)).subarray(0, excerptBytes), "endless line");
  }
}

/** Of the line that ends in there, its end included. */
function lineBytesIn(chunk: Buffer): number | undefined {
  const end = chunk.indexOf(lineFeed);
  return end === -1 ? undefined : end + 1;
}

/** The same memory as a Buffer. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** `text` may end with CR. undefined: it is none. */
function readMessageLine(text: string): MessageLine | undefined {
  const line = text.endsWith("\r") ? text.slice(0, -1) : text;
  return lineOf(line.split(" ")) ?? lineOf(separated(line));
}

/** As the protocol allows it, and no nats-server writes it: with several blanks, tabs, and in any case. */
function separated(line: string): readonly string[] {
  const [command = "", ...rest] = line.trim().split(/[ \t]+/);
  return [command.toUpperCase(), ...rest];
}

function lineOf(parts: readonly string[]): MessageLine | undefined {
  const [command, subject = "", sidText = ""] = parts;
  const hasHeaders = command === "HMSG";
  if (!hasHeaders && command !== "MSG") return undefined;
  const fewest = hasHeaders ? 5 : 4;
  if (parts.length !== fewest && parts.length !== fewest + 1) return undefined;
  const reply = parts.length === fewest ? undefined : parts[3];
  if (subject === "" || reply === "") return undefined;
  const sid = countOf(sidText);
  const size = countOf(parts.at(-1));
  const hdr = hasHeaders ? countOf(parts.at(-2)) : noHeaders;
  if (sid === undefined || size === undefined || size > messageBytesMax) return undefined;
  if (hdr === undefined || hdr > size) return undefined;
  return new MessageLine(subject, sid, reply ?? "", hdr, size);
}

function countOf(digits = ""): number | undefined {
  if (digits.length === 0 || digits.length > countDigitsMax) return undefined;
  let count = 0;
  for (let at = 0; at < digits.length; at++) {
    const digit = digits.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return undefined;
    count = count * 10 + digit;
  }
  return count;
}
