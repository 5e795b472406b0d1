/**
 * The grammar of JSON (RFC 8259) over bytes: where a value ends, and whether it is one. Nothing is built, so
 * numbers, key order and blanks of what is skipped stay as they are. The bytes are valid UTF-8 already.
 *
 * T1  linear in the bytes, no recursion: nesting costs one bit a level.
 * T2  every function takes an index and returns the index after what it skips, or -1 when it is not there.
 */

const quote = 0x22;
const backslash = 0x5c;
const bitsPerWord = 30;
/** From here on the bytes of a string are looked at four at a time, which has to be set up. */
const shortStringBytes = 128;

/** The index of the first byte that is not JSON white space. */
export function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at += 1;
  }
  return at;
}

/** Any one value, without the white space around it. */
export function skipValue(bytes: Uint8Array, start: number): number {
  const open = new OpenBrackets();
  let at = start;
  for (;;) {
    at = skipScalarOrOpen(bytes, at, open);
    if (at < 0) return -1;
    if (open.justOpened) continue;
    // A value has ended: close what ends with it, up to the next comma.
    for (;;) {
      if (open.depth === 0) return at;
      at = skipSpace(bytes, at);
      const byte = bytes[at];
      if (byte === 0x2c) {
        at = skipSpace(bytes, at + 1);
        if (open.isObject) at = skipKey(bytes, at);
        if (at < 0) return -1;
        break;
      }
      if (byte !== (open.isObject ? 0x7d : 0x5d)) return -1;
      open.pop();
      at += 1;
    }
  }
}

/** A string, quotes included. */
export function skipString(bytes: Uint8Array, start: number): number {
  if (bytes[start] !== quote) return -1;
  const end = Math.min(bytes.length, start + shortStringBytes);
  for (let at = start + 1; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte === quote) return at + 1;
    if (byte < 0x20) return -1;
    if (byte === backslash) return skipRestOfString(bytes, at, end);
  }
  return skipRestOfString(bytes, end, end);
}

/** As skipString, from anywhere inside of one; `longFrom`: from where on it is a long one. */
function skipRestOfString(bytes: Uint8Array, start: number, longFrom: number): number {
  const { length } = bytes;
  let wordsFrom = longFrom;
  for (let at = start; at < length; at += 1) {
    if (at >= wordsFrom) {
      at = skipPlain(bytes, at);
      wordsFrom = at + shortStringBytes;
    }
    const byte = bytes[at] ?? 0;
    if (byte === quote) return at + 1;
    if (byte < 0x20) return -1;
    if (byte === backslash) {
      at += 1;
      const escaped = bytes[at] ?? 0;
      if (escaped === 0x75) {
        for (let digit = 1; digit <= 4; digit += 1) if (!isHex(bytes[at + digit])) return -1;
        at += 4;
      } else if (!isSimpleEscape(escaped)) {
        return -1;
      }
    }
  }
  return -1;
}

/**
 * Passes over plain text, four bytes at a time: up to four of which one is a quote, a backslash or a control
 * character, or to fewer than four. Subtracting 1 sets the high bit of a byte that was 0 (of one whose high bit was
 * set before nothing can be told, hence `& ~`), subtracting 0x20 that of a control character.
 */
function skipPlain(bytes: Uint8Array, start: number): number {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = start;
  for (const last = bytes.length - 4; at <= last; at += 4) {
    const word = words.getInt32(at, true);
    const quotes = word ^ 0x22222222;
    const backslashes = word ^ 0x5c5c5c5c;
    const found =
      ((quotes - 0x01010101) & ~quotes) |
      ((backslashes - 0x01010101) & ~backslashes) |
      ((word - 0x20202020) & ~word);
    if ((found & 0x80808080) !== 0) break;
  }
  return at;
}

/** A member's name with its colon and the white space after that: the index where its value starts. */
export function skipKey(bytes: Uint8Array, start: number): number {
  const end = skipString(bytes, start);
  if (end < 0) return -1;
  const colon = skipSpace(bytes, end);
  return bytes[colon] === 0x3a ? skipSpace(bytes, colon + 1) : -1;
}

/** Whether the bytes are one JSON value, white space around it allowed. */
export function isJsonText(bytes: Uint8Array): boolean {
  const end = skipValue(bytes, skipSpace(bytes, 0));
  return end >= 0 && skipSpace(bytes, end) === bytes.length;
}

/** How deep objects and arrays are nested in a valid JSON text; 0 for a scalar. */
export function depthOfJsonText(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === quote) {
      at = skipString(bytes, at) - 1;
      if (at < 0) return deepest;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      deepest = Math.max(deepest, depth);
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    }
  }
  return deepest;
}

/** Skips a scalar or an empty container; for a container with content, opens it and skips up to its first value. */
function skipScalarOrOpen(bytes: Uint8Array, start: number, open: OpenBrackets): number {
  open.justOpened = false;
  switch (bytes[start]) {
    case quote:
      return skipString(bytes, start);
    case 0x7b: {
      const at = skipSpace(bytes, start + 1);
      if (bytes[at] === 0x7d) return at + 1;
      open.push(true);
      return skipKey(bytes, at);
    }
    case 0x5b: {
      const at = skipSpace(bytes, start + 1);
      if (bytes[at] === 0x5d) return at + 1;
      open.push(false);
      return at;
    }
    case 0x74:
      return skipWord(bytes, start, "true");
    case 0x66:
      return skipWord(bytes, start, "false");
    case 0x6e:
      return skipWord(bytes, start, "null");
    default:
      return skipNumber(bytes, start);
  }
}

function skipWord(bytes: Uint8Array, start: number, word: string): number {
  for (let at = 0; at < word.length; at += 1) if (bytes[start + at] !== word.charCodeAt(at)) return -1;
  return start + word.length;
}

function skipNumber(bytes: Uint8Array, start: number): number {
  let at = bytes[start] === 0x2d ? start + 1 : start;
  if (bytes[at] === 0x30) at += 1;
  else at = skipDigits(bytes, at);
  if (at >= 0 && bytes[at] === 0x2e) at = skipDigits(bytes, at + 1);
  if (at >= 0 && (bytes[at] === 0x65 || bytes[at] === 0x45)) {
    const sign = bytes[at + 1];
    at = skipDigits(bytes, sign === 0x2b || sign === 0x2d ? at + 2 : at + 1);
  }
  return at;
}

/** At least one digit. */
function skipDigits(bytes: Uint8Array, start: number): number {
  let at = start;
  while (isDigit(bytes[at])) at += 1;
  return at === start ? -1 : at;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);
}

function isSimpleEscape(byte: number): boolean {
  switch (byte) {
    case 0x22: // "
    case 0x2f: // /
    case 0x5c: // \
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return true;
    default:
      return false;
  }
}

/** The containers a value is inside of, one bit each: a million brackets must not cost a million objects. */
class OpenBrackets {
  depth = 0;
  justOpened = false;
  #bits = 0;
  readonly #full: number[] = [];

  get isObject(): boolean {
    return (this.#bits & 1) === 1;
  }

  push(isObject: boolean): void {
    if (this.depth > 0 && this.depth % bitsPerWord === 0) {
      this.#full.push(this.#bits);
      this.#bits = 0;
    }
    this.#bits = (this.#bits << 1) | (isObject ? 1 : 0);
    this.depth += 1;
    this.justOpened = true;
  }

  pop(): void {
    this.#bits >>>= 1;
    this.depth -= 1;
    if (this.depth > 0 && this.depth % bitsPerWord === 0) this.#bits = this.#full.pop() ?? 0;
  }
}
