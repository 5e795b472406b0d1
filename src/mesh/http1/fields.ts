/**
 * Reads the field lines of an HTTP/1.1 head (RFC 9112 §5), strictly: whatever could be read in two ways is not
 * read at all. Pure.
 */

/** Whole lines, each a token, a colon at once, and a value without controls; no folding, no bare CR or LF. */
const fieldLines = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/**
 * `lines`: the lines after the first one, bytes as latin-1, each with its CR LF, without the empty one.
 * Returns `[name, value, …]` as Node's `rawHeaders` has them, or undefined when a line is not what it must be.
 */
export function parseFields(lines: string): string[] | undefined {
  if (!fieldLines.test(lines)) return undefined;
  const fields: string[] = [];
  for (let at = 0; at < lines.length; ) {
    const colon = lines.indexOf(":", at);
    const end = lines.indexOf("\r\n", colon);
    fields.push(lines.slice(at, colon), trimBlanks(lines, colon + 1, end));
    at = end + 2;
  }
  return fields;
}

/** The text without blanks around it, linear in them; `String.trim` would take a byte of UTF-8 (0xA0) for one. */
export function trimBlanks(text: string, from = 0, to = text.length): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
