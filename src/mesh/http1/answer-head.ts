/**
 * What the head of an answer says: its status, and how its body and its connection end (RFC 9112 §4, §6, §9).
 * Pure. What could be read in two ways is malformed.
 */
import { parseFields, trimBlanks } from "./fields.ts";

export interface AnswerHead {
  readonly status: number;
  /** Flat name, value, …. */
  readonly fields: readonly string[];
  readonly framing: Framing;
  /** How long the connection may be idle afterwards, by what the peer says; 0: it must not be used again. */
  readonly idleMs: number;
}

/** How the end of the body is found. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "counted"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

export interface Malformed {
  readonly kind: "malformed";
  /** In words, to follow "found". */
  readonly found: string;
}

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?\r\n/;
/** More digits than any body has bytes, fewer than a number can hold. */
const contentLength = /^\d{1,15}$/;
const keepAliveTimeout = /(?:^|[,;])[\t ]*timeout[\t ]*=[\t ]*"?(\d{1,9})/i;
const excerptCharsMax = 100;

/** `text`: bytes as latin-1, from the status line up to and with the empty line. */
export function parseAnswerHead(text: string): AnswerHead | Malformed {
  const [line, minor, digits] = statusLine.exec(text) ?? [];
  if (line === undefined) return malformed(`a status line ${excerpt(text)}`);
  const lines = text.slice(line.length, -2);
  const fields = parseFields(lines);
  if (fields === undefined) return malformed(`a header ${excerpt(firstInvalid(lines))}`);
  const status = Number(digits);
  const said = readSaid(fields);
  const framing = framingOf(status, said);
  if (framing.kind === "malformed") return framing;
  const mayPersist = status !== 101 && framing.kind !== "until-close";
  return { status, fields, framing, idleMs: mayPersist ? idleMsOf(said, minor === "0") : 0 };
}

function firstInvalid(lines: string): string {
  return lines.split("\r\n").find((line) => parseFields(`${line}\r\n`) === undefined) ?? "";
}

/** So that every fault is told alike. */
export function malformed(found: string): Malformed {
  return { kind: "malformed", found };
}

/** The first line of what was found, quoted. */
export function excerpt(text: string): string {
  const [line = ""] = text.split(/[\r\n]/, 1);
  return JSON.stringify(line.slice(0, excerptCharsMax));
}

/** The fields that are for the client; several of one name are joined as a list. */
interface Said {
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  connection: string | undefined;
  keepAlive: string | undefined;
}

function readSaid(fields: readonly string[]): Said {
  const said: Said = {
    contentLength: undefined,
    transferEncoding: undefined,
    connection: undefined,
    keepAlive: undefined,
  };
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    // By length first: most names are of no interest and need not be brought to lower case.
    switch (name.length) {
      case 10:
        if (isNamed(name, "connection")) said.connection = joined(said.connection, value);
        else if (isNamed(name, "keep-alive")) said.keepAlive = joined(said.keepAlive, value);
        break;
      case 14:
        if (isNamed(name, "content-length")) said.contentLength = joined(said.contentLength, value);
        break;
      case 17:
        if (isNamed(name, "transfer-encoding")) said.transferEncoding = joined(said.transferEncoding, value);
        break;
    }
  }
  return said;
}

function isNamed(name: string, lowerCase: string): boolean {
  return name === lowerCase || name.toLowerCase() === lowerCase;
}

function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before},${value}`;
}

/** RFC 9112 §6.3, for the answer to a POST. */
function framingOf(status: number, { contentLength, transferEncoding }: Said): Framing | Malformed {
  if (status < 200 || status === 204 || status === 304) return { kind: "none" };
  if (transferEncoding !== undefined) {
    // Nothing else was asked for (no TE in the request), so nothing else can be undone.
    return transferEncoding.toLowerCase() === "chunked"
      ? { kind: "chunked" }
      : malformed(`Transfer-Encoding ${excerpt(transferEncoding)}`);
  }
  if (contentLength === undefined) return { kind: "until-close" };
  const length = lengthOf(contentLength);
  return length === undefined
    ? malformed(`Content-Length ${excerpt(contentLength)}`)
    : { kind: "counted", length };
}

/** Equal values may be repeated, different ones never. */
function lengthOf(text: string): number | undefined {
  const [first = "", ...others] = text.includes(",") ? splitList(text) : [text];
  if (!contentLength.test(first) || others.some((other) => other !== first)) return undefined;
  return Number(first);
}

/** RFC 9112 §9.3; the peer's Keep-Alive is a promise that it closes no sooner than that. */
function idleMsOf(
  { contentLength, transferEncoding, connection, keepAlive }: Said,
  isHttp10: boolean,
): number {
  // Of two who read such an answer, one may see another end of it than the other (§6.1).
  if (transferEncoding !== undefined && (contentLength !== undefined || isHttp10)) return 0;
  const options = connection === undefined ? [] : splitList(connection.toLowerCase());
  if (options.includes("close") || (isHttp10 && !options.includes("keep-alive"))) return 0;
  const timeout = keepAlive === undefined ? null : keepAliveTimeout.exec(keepAlive);
  return timeout === null ? Number.POSITIVE_INFINITY : Number(timeout[1]) * 1000;
}

function splitList(text: string): string[] {
  return text.split(",").map((item) => trimBlanks(item));
}
