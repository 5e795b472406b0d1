/**
 * WHETHER a text is a URI or URI-reference by RFC 3986, by its whole grammar and nothing more lenient: IRIs,
 * blanks and stray percent signs are refused, the text is never rewritten. Linear in the length.
 */

/** RFC 3986 §4.1: absolute or relative, with or without fragment; the empty reference is one as well. */
export function isUriReference(value: string): boolean {
  return kindOf(value) !== "none";
}

/** RFC 3986 §3: with a scheme. A fragment is accepted, as the JSON Schema of CloudEvents does. */
export function isUri(value: string): boolean {
  return kindOf(value) === "absolute";
}

function kindOf(value: string): "absolute" | "relative" | "none" {
  let schemeEnd = -1;
  let inFirstSegment = true;
  let inFragment = false;
  let hasBracket = false;
  for (let at = 0; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    const sort = code < 128 ? sorts[code] : illegal;
    if (sort === plain) continue;
    if (sort === illegal) return "none";
    if (code === 0x25) {
      if (!isHex(value.charCodeAt(at + 1)) || !isHex(value.charCodeAt(at + 2))) return "none";
    } else if (code === 0x3a) {
      if (inFirstSegment && schemeEnd < 0) schemeEnd = at;
    } else if (code === 0x5b || code === 0x5d) {
      hasBracket = true;
    } else {
      inFirstSegment = false;
      if (code === 0x23) {
        if (inFragment) return "none";
        inFragment = true;
      }
    }
  }
  // A first segment with a colon that is no scheme cannot be a relative reference either (§4.2).
  if (schemeEnd >= 0 && !isScheme(value, schemeEnd)) return "none";
  if (value.startsWith("//", schemeEnd + 1)) {
    const start = schemeEnd + 3;
    const end = authorityEnd(value, start);
    if (!isAuthority(value.slice(start, end))) return "none";
    if (hasBracket && /[[\]]/.test(value.slice(end))) return "none";
  } else if (hasBracket) {
    return "none";
  }
  return schemeEnd >= 0 ? "absolute" : "relative";
}

function isScheme(value: string, end: number): boolean {
  return /^[a-z][a-z0-9+.-]*$/i.test(value.slice(0, end));
}

function authorityEnd(value: string, start: number): number {
  for (let at = start; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    if (code === 0x2f || code === 0x3f || code === 0x23) return at;
  }
  return value.length;
}

/** [ userinfo "@" ] host [ ":" port ]; the characters themselves are checked already. */
function isAuthority(authority: string): boolean {
  const at = authority.indexOf("@");
  if (/[[\]]/.test(authority.slice(0, Math.max(at, 0)))) return false;
  const hostPort = authority.slice(at + 1);
  if (hostPort.startsWith("[")) {
    const close = hostPort.indexOf("]");
    return (
      close > 0 && isIpLiteral(hostPort.slice(1, close)) && /^(?::\d*)?$/.test(hostPort.slice(close + 1))
    );
  }
  return /^[^@:[\]]*(?::\d*)?$/.test(hostPort);
}

function isIpLiteral(address: string): boolean {
  if (/^v[0-9a-f]+\.[a-z0-9\-._~!$&'()*+,;=:]+$/i.test(address)) return true;
  return /^[0-9a-f:.]+$/i.test(address) && URL.canParse(`http://[${address}]/`);
}

function isHex(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x46) || (code >= 0x61 && code <= 0x66);
}

const illegal = 0;
const plain = 1;
const delimiter = 2;
const sorts = new Uint8Array(128).fill(illegal);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=@") {
  sorts[character.charCodeAt(0)] = plain;
}
for (const character of ":/?#[]%") sorts[character.charCodeAt(0)] = delimiter;
