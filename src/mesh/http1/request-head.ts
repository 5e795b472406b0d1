/**
 * Writes the head of a POST (RFC 9112 §3, §5). Pure. Whatever could end a line early, or say a second time how
 * long the body is, never gets on the wire.
 */

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Also refuses what is beyond latin-1: its low byte could be a line end. */
const notInValue = /[^\t\x20-\x7e\x80-\xff]/;

/** Said by the client itself, or about the connection, which is the client's. */
const reserved: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
  "expect",
]);

/** A name's beginning of a line, with the end of the one before. There are few, and they come again and again. */
const knownStarts = new Map<string, string>();
const knownStartsMax = 1000;

/** Bytes as latin-1, up to and with the empty line; undefined when a header is invalid (see findInvalidHeader). */
export function encodePostHead(url: URL, headers: readonly string[], bodyLength: number): string | undefined {
  let head = `POST ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\ncontent-length: ${bodyLength}`;
  for (let at = 0; at < headers.length; at += 2) {
    const start = lineStart(headers[at] ?? "");
    const value = headers[at + 1] ?? "";
    if (start === undefined || notInValue.test(value)) return undefined;
    head += start + value;
  }
  return `${head}\r\n\r\n`;
}

/** The name of the first header that cannot be sent, or whose value cannot, as a JSON string. */
export function findInvalidHeader(headers: readonly string[]): string | undefined {
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? "";
    if (lineStart(name) === undefined || notInValue.test(headers[at + 1] ?? "")) return JSON.stringify(name);
  }
  return undefined;
}

function lineStart(name: string): string | undefined {
  const known = knownStarts.get(name);
  if (known !== undefined) return known;
  if (!token.test(name) || reserved.has(name.toLowerCase())) return undefined;
  if (knownStarts.size >= knownStartsMax) knownStarts.clear();
  const start = `\r\n${name}: `;
  knownStarts.set(name, start);
  return start;
}
