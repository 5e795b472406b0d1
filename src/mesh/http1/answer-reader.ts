/**
 * Reads the answers of one connection, one at a time, however their bytes are cut (RFC 9112). Pure: bytes in,
 * answers out.
 *
 *   head ──┬── 1xx ─────────────► head
 *          ├── none ────────────► answer ◄──────────┐
 *          ├── counted ─────────► answer            │
 *          ├── until-close ─────► answer at the end │
 *          └── chunked: chunk-line ──► trailers ────┘
 *                         ▲   └► chunk ─► chunk-end ┐
 *                         └─────────────────────────┘
 *
 * R1  what is held is bounded: a head, the trailers, the chunk extensions, and the body by `bodyBytesMax`.
 * R2  an answer is not trusted with the connection (`idleMs` 0) unless the chunk ended just where it did.
 */
import { Buffer } from "node:buffer";
import {
  type AnswerHead,
  excerpt,
  type Framing,
  type Malformed,
  malformed,
  parseAnswerHead,
} from "./answer-head.ts";
import type { Answer } from "./exchange.ts";
import { parseFields } from "./fields.ts";
import { GatheredBody } from "./gathered-body.ts";

export type Reading =
  /** The answer goes on in bytes to come. */
  | { readonly kind: "more" }
  /** `idleMs`: how long the connection may be idle now, at most; 0: it must be closed. */
  | { readonly kind: "answer"; readonly answer: Answer; readonly idleMs: number }
  | Malformed;

const headBytesMax = 64 * 1024;
const rememberedBytesMax = 1024;
const trailerBytesMax = 64 * 1024;
/** Of all chunks of a body together. */
const chunkExtensionBytesMax = 16 * 1024;

const more: Reading = { kind: "more" };
/** 48 bits of length, and extensions nobody asked for. */
const chunkLine = /^([0-9A-Fa-f]{1,12})([\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?)\r\n$/;
const versionStart = "HTTP/1.";

/** What ends a piece of text. */
interface Mark {
  readonly text: string;
  readonly bytes: Buffer;
}
const headEnd: Mark = { text: "\r\n\r\n", bytes: Buffer.from("\r\n\r\n") };
const lineEnd: Mark = { text: "\r\n", bytes: Buffer.from("\r\n") };

type Phase = "head" | "counted" | "until-close" | "chunk-line" | "chunk" | "chunk-end" | "trailers";

export class AnswerReader {
  #phase: Phase = "head";
  /** What is being read, and how far: `#at` is the next byte. */
  #chunk: Buffer = lineEnd.bytes;
  #at = 0;
  /** Text whose end has not come, and its last bytes, in which its mark may have begun. */
  #held = "";
  #seam = "";
  #head: AnswerHead | undefined;
  /** A subscriber's answers are mostly alike, within the second of their Date. */
  #lastText = "";
  #lastHead: AnswerHead | Malformed = malformed("nothing");
  readonly #body: GatheredBody;
  /** Bytes to come: of a counted body, or of a chunk. */
  #left = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;

  constructor({ bodyBytesMax }: { bodyBytesMax: number }) {
    this.#body = new GatheredBody(bodyBytesMax);
  }

  /** Whether any byte of an answer came that is not complete. */
  get hasBegun(): boolean {
    return this.#phase !== "head" || this.#held !== "";
  }

  /** `chunk`: at least one byte; it may be used again afterwards. Nothing may follow on a malformed answer. */
  read(chunk: Buffer): Reading {
    this.#chunk = chunk;
    this.#at = 0;
    for (;;) {
      const reading = this.#step();
      if (reading !== undefined) return reading;
    }
  }

  /** The peer has closed: the answer that ended with that, or undefined when one was cut. */
  end(): Answer | undefined {
    return this.#phase === "until-close" ? this.#complete(false).answer : undefined;
  }

  /** Reads one part; undefined when the next one can follow at once. */
  #step(): Reading | undefined {
    switch (this.#phase) {
      case "head":
        return this.#readHead();
      case "counted":
      case "chunk":
        return this.#readCounted();
      case "until-close":
        return this.#gather(this.#chunk.length) ? more : this.#complete(true);
      case "chunk-line":
        return this.#readChunkLine();
      case "chunk-end":
        return this.#readChunkEnd();
      case "trailers":
        return this.#readTrailer();
    }
  }

  #readHead(): Reading | undefined {
    const text = this.#textUntil(headEnd);
    if (text === undefined) return this.#judgeHeld();
    if (text.length > headBytesMax) return headTooLarge();
    const head = text === this.#lastText ? this.#lastHead : parseAnswerHead(text);
    if ("kind" in head) return head;
    if (text.length <= rememberedBytesMax) {
      this.#lastText = text;
      this.#lastHead = head;
    }
    // 1xx say that the answer is yet to come; 101 is one: the connection is no longer HTTP, if it keeps its word.
    if (head.status < 200 && head.status !== 101) return undefined;
    this.#head = head;
    return this.#beginBody(head.framing);
  }

  /** So that a peer that speaks something else is found out before the attempt's deadline. */
  #judgeHeld(): Reading {
    const held = this.#held;
    const lineFeed = held.indexOf("\n");
    const isBare = lineFeed >= 0 && held[lineFeed - 1] !== "\r";
    if (isBare || !versionStart.startsWith(held.slice(0, versionStart.length))) {
      return malformed(`a status line ${excerpt(held)}`);
    }
    return held.length > headBytesMax ? headTooLarge() : more;
  }

  #beginBody(framing: Framing): Reading | undefined {
    switch (framing.kind) {
      case "none":
        return this.#complete(false);
      case "counted":
        if (framing.length === 0) return this.#complete(false);
        this.#left = framing.length;
        this.#phase = "counted";
        return undefined;
      case "chunked":
        this.#extensionBytes = 0;
        this.#trailerBytes = 0;
        this.#phase = "chunk-line";
        return undefined;
      case "until-close":
        this.#phase = "until-close";
        return undefined;
    }
  }

  #readCounted(): Reading | undefined {
    const from = this.#at;
    const end = Math.min(this.#chunk.length, from + this.#left);
    this.#left -= end - from;
    if (!this.#gather(end)) return this.#complete(true);
    if (this.#left > 0) return more;
    if (this.#phase === "counted") return this.#complete(false);
    this.#phase = "chunk-end";
    return undefined;
  }

  #readChunkLine(): Reading | undefined {
    const text = this.#textUntil(lineEnd);
    if (text === undefined) {
      return this.#extensionBytes + this.#held.length > chunkExtensionBytesMax ? extensionsTooLarge() : more;
    }
    const [, digits, extension = ""] = chunkLine.exec(text) ?? [];
    if (digits === undefined) return malformed(`a chunk that begins ${excerpt(text)}`);
    this.#extensionBytes += extension.length;
    if (this.#extensionBytes > chunkExtensionBytesMax) return extensionsTooLarge();
    this.#left = Number.parseInt(digits, 16);
    this.#phase = this.#left === 0 ? "trailers" : "chunk";
    return undefined;
  }

  #readChunkEnd(): Reading | undefined {
    const text = this.#textUntil(lineEnd);
    const isOrCanBe = text === undefined ? "\r\n".startsWith(this.#held) : text === "\r\n";
    if (!isOrCanBe) return malformed("a chunk longer than it said");
    if (text === undefined) return more;
    this.#phase = "chunk-line";
    return undefined;
  }

  /** Trailers are read to find their end, and dropped: nothing an answer is judged by may come so late. */
  #readTrailer(): Reading | undefined {
    const text = this.#textUntil(lineEnd);
    const length = text === undefined ? this.#held.length : text.length;
    if (this.#trailerBytes + length > trailerBytesMax) {
      return malformed(`trailers of more than ${trailerBytesMax} bytes`);
    }
    if (text === undefined) return more;
    if (text === "\r\n") return this.#complete(false);
    this.#trailerBytes += length;
    return parseFields(text) === undefined ? malformed(`a trailer ${excerpt(text)}`) : undefined;
  }

  /** Adds the bytes up to `end` to the body; false when it got too long. */
  #gather(end: number): boolean {
    const from = this.#at;
    this.#at = end;
    return this.#body.add(this.#chunk, from, end);
  }

  #complete(truncated: boolean): Extract<Reading, { kind: "answer" }> {
    const { status = 0, fields = [], idleMs = 0 } = this.#head ?? {};
    const isWhole = !truncated && this.#at === this.#chunk.length;
    this.#phase = "head";
    this.#head = undefined;
    return {
      kind: "answer",
      answer: { status, headers: fields, body: this.#body.take(), truncated },
      idleMs: isWhole ? idleMs : 0,
    };
  }

  /** The text up to and with its mark, as latin-1; undefined, and held, while that has not come. */
  #textUntil(mark: Mark): string | undefined {
    const chunk = this.#chunk;
    const from = this.#at;
    const end = this.#endOf(mark);
    if (end === undefined) {
      const piece = chunk.toString("latin1", from);
      this.#held += piece;
      this.#seam = (this.#seam + piece).slice(1 - mark.text.length);
      this.#at = chunk.length;
      return undefined;
    }
    const text = chunk.toString("latin1", from, end);
    this.#at = end;
    if (this.#held === "") return text;
    const whole = this.#held + text;
    this.#held = "";
    this.#seam = "";
    return whole;
  }

  /** Where the mark ends in the chunk. */
  #endOf(mark: Mark): number | undefined {
    const from = this.#at;
    if (this.#seam !== "") {
      const around = this.#seam + this.#chunk.toString("latin1", from, from + mark.text.length - 1);
      const at = around.indexOf(mark.text);
      if (at >= 0) return from + at + mark.text.length - this.#seam.length;
    }
    const at = this.#chunk.indexOf(mark.bytes, from);
    return at < 0 ? undefined : at + mark.bytes.length;
  }
}

function headTooLarge(): Malformed {
  return malformed(`a head of more than ${headBytesMax} bytes`);
}

function extensionsTooLarge(): Malformed {
  return malformed(`chunk extensions of more than ${chunkExtensionBytesMax} bytes`);
}
