/**
 * Finds one request of the plainest kind at the beginning of some bytes: a POST with a counted body and nothing
 * that asks for special treatment. Pure. Everything else, the malformed included, is for a complete HTTP server
 * to judge: what is read here must have only one meaning (RFC 9112).
 */
import { parseFields } from "./fields.ts";

/** What a request says before its body. */
export interface PlainHead {
  /** As it is written, `/default/orders`. */
  readonly target: string;
  readonly host: string;
  /** `[name, value, …]`, as Node's rawHeaders. */
  readonly fields: readonly string[];
  /** Bytes of the head, and of the body that follows. */
  readonly headBytes: number;
  readonly bodyBytes: number;
}

export type HeadReading =
  | { readonly kind: "head"; readonly head: PlainHead }
  /** There is no whole head yet. */
  | { readonly kind: "incomplete" }
  | { readonly kind: "other" };

const headEnd = Buffer.from("\r\n\r\n");
const method = "POST ";
const version = " HTTP/1.1";
/** A line that ends in LF alone, or goes on after CR. */
const bareEnd = /\n|\r[^\n]/;
const digits = /^\d{1,9}$/;
const visible = /^\/[\x21-\x7e]*$/;
const incomplete: HeadReading = { kind: "incomplete" };
const other: HeadReading = { kind: "other" };

/** `headBytesMax`: longer heads are `other`. */
export function readPlainHead(bytes: Buffer, headBytesMax: number): HeadReading {
  const end = bytes.indexOf(headEnd);
  if (end === -1) return bytes.length < headBytesMax && mayBecomePlain(bytes) ? incomplete : other;
  if (end > headBytesMax) return other;
  const text = bytes.toString("latin1", 0, end + 2);
  const lineEnd = text.indexOf("\r\n");
  if (!text.startsWith(method) || !text.startsWith(version, lineEnd - version.length)) return other;
  const target = text.slice(method.length, lineEnd - version.length);
  const fields = visible.test(target) ? parseFields(text.slice(lineEnd + 2)) : undefined;
  if (fields === undefined) return other;
  const framing = framingOf(fields);
  if (framing === undefined) return other;
  return { kind: "head", head: { target, fields, headBytes: end + 4, ...framing } };
}

/** So that who speaks otherwise learns it at once, and not when its time is over. */
function mayBecomePlain(bytes: Buffer): boolean {
  const text = bytes.toString("latin1");
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd === -1) return method.startsWith(text.slice(0, method.length)) && !bareEnd.test(text);
  const whole = text.slice(0, text.lastIndexOf("\r\n") + 2);
  const isLine = text.startsWith(method) && text.startsWith(version, lineEnd - version.length);
  if (!isLine || parseFields(whole.slice(lineEnd + 2)) === undefined) return false;
  return !bareEnd.test(text.slice(whole.length));
}

/** undefined when a field asks for more than a counted body and an answer on a connection that stays open. */
function framingOf(fields: readonly string[]): { host: string; bodyBytes: number } | undefined {
  let host: string | undefined;
  let length: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    switch (name.length) {
      case 4:
        if (name.toLowerCase() !== "host") break;
        if (host !== undefined) return undefined;
        host = value;
        break;
      case 14:
        if (name.toLowerCase() !== "content-length") break;
        if (length !== undefined) return undefined;
        length = value;
        break;
      case 10:
        if (name.toLowerCase() === "connection" && value.toLowerCase() !== "keep-alive") return undefined;
        break;
      case 2:
      case 6:
      case 7:
      case 17:
        if (special.has(name.toLowerCase())) return undefined;
        break;
    }
  }
  if (host === undefined || length === undefined || !digits.test(length)) return undefined;
  return { host, bodyBytes: Number(length) };
}

const special = new Set(["te", "expect", "prefer", "upgrade", "trailer", "transfer-encoding"]);
