/**
 * WHICH attribute a header names, in HTTP and in NATS: `ce-` in any case, then the attribute's name.
 * Names seen are remembered (bounded), which spares the hot path the checking and a new string per header.
 */
import { requireName } from "./validate.ts";

const knownNamesMax = 1000;
const knownNameCharactersMax = 64;
const knownNames = new Map<string, string>();
const knownHeaders = new Map<string, string>();

export function hasAttributePrefix(header: string): boolean {
  return (
    header.charCodeAt(2) === 0x2d &&
    (header.charCodeAt(0) | 0x20) === 0x63 &&
    (header.charCodeAt(1) | 0x20) === 0x65
  );
}

/** The attribute of a header that has the prefix. Throws EVENT_INVALID when the rest is no attribute name. */
export function attributeNameOf(header: string): string {
  const known = knownNames.get(header);
  if (known !== undefined) return known;
  const rest = header.slice(3);
  // Only ASCII letters may be lowered: the Kelvin sign would become a k.
  const name = /^[A-Z0-9]+$/i.test(rest) ? rest.toLowerCase() : rest;
  requireName(name);
  if (knownNames.size < knownNamesMax && header.length <= knownNameCharactersMax)
    knownNames.set(header, name);
  return name;
}

/** The header of an attribute. */
export function headerNameOf(name: string): string {
  const known = knownHeaders.get(name);
  if (known !== undefined) return known;
  const header = `ce-${name}`;
  remember(knownHeaders, name, header);
  return header;
}

function remember(known: Map<string, string>, key: string, value: string): void {
  if (known.size < knownNamesMax && key.length <= knownNameCharactersMax) known.set(key, value);
}
