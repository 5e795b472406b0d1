/**
 * HOW an attribute value travels in a header, the same in the HTTP and the NATS binding (HTTP binding §3.1.3.2):
 * percent-encoded UTF-8 for blank, quote, percent and everything outside U+0021..U+007E.
 *
 * H1  decodeHeaderValue(encodeHeaderValue(v)) === v for every valid v.
 * H2  decoding is one round; what is no escape (`100%`, `%zz`, `+`) is taken literally.
 * H3  what cannot be decoded is undefined, never an exception.
 */

/** Encodes exactly what must be encoded; `value` is a valid CloudEvents String. */
export function encodeHeaderValue(value: string): string {
  return needsEncoding(value) ? value.replace(/[^\x21\x23\x24\x26-\x7e]/gu, encodeURIComponent) : value;
}

/** Whether the value's header form differs from the value. */
export function needsEncoding(value: string): boolean {
  return /[^\x21\x23\x24\x26-\x7e]/.test(value);
}

/** Whether a header's text is its own value, without escapes, quotes, bytes over 0x7e or control characters. */
export function isPlainHeaderValue(text: string): boolean {
  return !/[^\x20\x21\x23\x24\x26-\x7e]/.test(text);
}

/** The value a header's text stands for; undefined when its escapes are not valid UTF-8. */
export function decodeHeaderValue(text: string): string | undefined {
  const isQuoted = text.charCodeAt(0) === 0x22;
  if (!isQuoted && !text.includes("%")) return text;
  const unquoted = isQuoted ? unquote(text) : text;
  try {
    return unquoted.replace(/(?:%[0-9A-Fa-f]{2})+/g, decodeURIComponent);
  } catch {
    return undefined;
  }
}

/**
 * The text of a header that came as bytes in a string (latin-1, as Node hands them over) and is meant as UTF-8;
 * undefined when it is not.
 */
export function textOfByteString(byteString: string): string | undefined {
  return isAscii(byteString) ? byteString : readUtf8(byteString);
}

/** The string of bytes that puts `text` on the wire as UTF-8. */
export function byteStringOfText(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function readUtf8(byteString: string): string | undefined {
  if (/[^\0-\xff]/.test(byteString)) return undefined;
  try {
    return strictUtf8.decode(Buffer.from(byteString, "latin1"));
  } catch {
    return undefined;
  }
}

/** Only a whole value in quotes is a quoted string (senders before CloudEvents 1.0.2); else it is itself. */
function unquote(text: string): string {
  const last = text.length - 1;
  for (let at = 1; at < last; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return text;
    if (code === 0x5c) at += 1;
    if (at === last) return text;
  }
  return last > 0 && text.charCodeAt(last) === 0x22 ? text.slice(1, last).replace(/\\(.)/gsu, "$1") : text;
}
