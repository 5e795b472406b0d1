/** Bytes as Node wants them, and base64 as RFC 4648 §4 defines it (Node's own decoder takes nearly anything). */

/** The same memory as a Buffer. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bytes; undefined for anything but the standard alphabet with its padding. */
export function decodeBase64(text: string): Buffer | undefined {
  const { length } = text;
  if (length % 4 !== 0) return undefined;
  let end = length;
  if (text.endsWith("==")) end -= 2;
  else if (text.endsWith("=")) end -= 1;
  for (let at = 0; at < end; at += 1) if (!isBase64Code(text.charCodeAt(at))) return undefined;
  return Buffer.from(text, "base64");
}

const base64Codes = new Uint8Array(128);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
  base64Codes[character.charCodeAt(0)] = 1;
}

function isBase64Code(code: number): boolean {
  return code < 128 && base64Codes[code] === 1;
}
