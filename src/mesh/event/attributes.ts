/**
 * HOW attributes come to be: the only place that makes an `Attributes` record, so that none exists unchecked
 * (what weft sets itself is right by its making, see amend).
 *
 * A1  every name and value is checked before it is in the record, and each name is set once.
 * A2  completeAttributes is the only way from a draft to Attributes (required ones there, size within bounds).
 * A3  a draft never holds more than attributesBytesMax, whatever is fed to it.
 * A4  the record inherits nothing, so an attribute called `constructor` is just an attribute.
 */
import { MeshError } from "../errors.ts";
import type { Attributes, Event } from "./event.ts";
import { encodeHeaderValue, isPlainHeaderValue } from "./header-value.ts";
import { attributesBytesMaxDefault, attributesBytesMaxStored, type EventLimits } from "./limits.ts";
import { isTimestamp } from "./timestamp.ts";
import { isUriReference } from "./uri.ts";
import { eventInvalid, requireName, requireValue, requireVersioned } from "./validate.ts";

/**
 * Attributes being gathered. Those nearly every event has are fields: naming them costs a fraction of a lookup
 * by name, and this is the hottest code of the mesh.
 */
export interface Draft {
  readonly bytesMax: number;
  /** A lower bound of the header block's bytes (values count at least one byte per UTF-16 unit). */
  bytes: number;
  specversion: string | undefined;
  id: string | undefined;
  source: string | undefined;
  type: string | undefined;
  datacontenttype: string | undefined;
  subject: string | undefined;
  time: string | undefined;
  /** Name and value in turn; a name that is there twice is found on completion. */
  readonly others: string[];
}

// `ce-`, `: ` and CR LF around each name and value.
const headerOverheadBytes = 7;
// A UTF-16 unit is at most three UTF-8 bytes, each at most `%XX`.
const encodedBytesPerUnitMax = 9;

export function draftAttributes(limits: EventLimits = {}): Draft {
  return {
    bytesMax: limits.attributesBytesMax ?? attributesBytesMaxDefault,
    bytes: 0,
    specversion: undefined,
    id: undefined,
    source: undefined,
    type: undefined,
    datacontenttype: undefined,
    subject: undefined,
    time: undefined,
    others: [],
  };
}

/** Sets an attribute whose name may be anything. Throws EVENT_INVALID or HEADERS_TOO_LARGE. */
export function setAttribute(draft: Draft, name: string, value: string): void {
  requireName(name);
  setNamedAttribute(draft, name, value);
}

/** Sets an attribute whose name has passed requireName already. */
export function setNamedAttribute(draft: Draft, name: string, value: string): void {
  requireValue(name, value);
  put(draft, name, value);
}

/**
 * The fast path of decoding headers: sets the attribute and says true if `text` is a valid value that needs no
 * decoding; says false, with nothing set, if it has to be looked at more closely. The name has passed requireName.
 */
export function setPlainAttribute(draft: Draft, name: string, text: string): boolean {
  switch (name) {
    case "specversion":
      if (text !== "1.0") return false;
      break;
    case "source":
      if (text === "" || text.includes("%") || !isUriReference(text)) return false;
      break;
    case "time":
      if (!isTimestamp(text)) return false;
      break;
    case "id":
    case "type":
    case "subject":
      if (text === "" || !isPlainHeaderValue(text)) return false;
      break;
    case "datacontenttype":
      if (text !== "application/json") return false;
      break;
    default:
      if (!isPlainHeaderValue(text)) return false;
  }
  put(draft, name, text);
  return true;
}

/** The value a draft has so far for an attribute that is not one of its fields. */
export function draftedExtension(draft: Draft, name: string): string | undefined {
  for (let at = 0; at < draft.others.length; at += 2)
    if (draft.others[at] === name) return draft.others[at + 1];
  return undefined;
}

/** The finished attributes; the draft must not be used after it. Throws EVENT_INVALID or HEADERS_TOO_LARGE. */
export function completeAttributes(draft: Draft): Attributes {
  const attributes = recordOf(draft);
  requireVersioned(attributes);
  if (draft.bytes * encodedBytesPerUnitMax > draft.bytesMax && attributesBytes(attributes) > draft.bytesMax) {
    throw attributesTooLarge(draft.bytesMax);
  }
  return attributes;
}

/** The attributes' size as a NATS header block, percent-encoding included. */
export function attributesBytes(attributes: Attributes): number {
  let bytes = 0;
  for (const name in attributes) {
    bytes += name.length + encodeHeaderValue(attributes[name] ?? "").length + headerOverheadBytes;
  }
  return bytes;
}

/**
 * A checked copy of the object's own members as attributes; undefined members are left out.
 * Throws EVENT_INVALID or HEADERS_TOO_LARGE.
 */
export function attributesOf(
  object: Readonly<Record<string, string | undefined>>,
  limits: EventLimits = {},
): Attributes {
  const draft = draftAttributes(limits);
  for (const [name, value] of Object.entries(object)) {
    if (value !== undefined) setAttribute(draft, name, value);
  }
  return completeAttributes(draft);
}

/**
 * The same event with some attributes set, replaced or (when undefined) removed; data is shared. Only what
 * changes is checked. Throws EVENT_INVALID or HEADERS_TOO_LARGE.
 */
export function withAttributes(event: Event, changes: Readonly<Record<string, string | undefined>>): Event {
  const draft = draftAttributes({ attributesBytesMax: attributesBytesMaxStored });
  for (const name in event.attributes) {
    if (!Object.hasOwn(changes, name)) put(draft, name, event.attributes[name] ?? "");
  }
  for (const [name, value] of Object.entries(changes)) {
    if (value !== undefined) setAttribute(draft, name, value);
  }
  return { attributes: completeAttributes(draft), data: event.data };
}

/**
 * The same with attributes of our own making: nothing of them is checked, which the hot path spares. Only for names
 * and values that are valid by how they came about.
 */
export function amend(event: Event, changes: Readonly<Record<string, string | undefined>>): Event {
  const bag = new Bag();
  for (const name in event.attributes) {
    if (!Object.hasOwn(changes, name)) bag[name] = event.attributes[name] ?? "";
  }
  for (const name in changes) {
    const value = changes[name];
    if (value !== undefined) bag[name] = value;
  }
  return { attributes: bag as Attributes, data: event.data };
}

function put(draft: Draft, name: string, value: string): void {
  draft.bytes += name.length + value.length + headerOverheadBytes;
  if (draft.bytes > draft.bytesMax) throw attributesTooLarge(draft.bytesMax);
  switch (name) {
    case "specversion":
      if (draft.specversion !== undefined) throw setTwice(name, value);
      draft.specversion = value;
      return;
    case "id":
      if (draft.id !== undefined) throw setTwice(name, value);
      draft.id = value;
      return;
    case "source":
      if (draft.source !== undefined) throw setTwice(name, value);
      draft.source = value;
      return;
    case "type":
      if (draft.type !== undefined) throw setTwice(name, value);
      draft.type = value;
      return;
    case "datacontenttype":
      if (draft.datacontenttype !== undefined) throw setTwice(name, value);
      draft.datacontenttype = value;
      return;
    case "subject":
      if (draft.subject !== undefined) throw setTwice(name, value);
      draft.subject = value;
      return;
    case "time":
      if (draft.time !== undefined) throw setTwice(name, value);
      draft.time = value;
      return;
    default:
      draft.others.push(name, value);
  }
}

/** An object without inherited names that, unlike Object.create(null), stays in the engine's fast mode. */
class Bag {
  [name: string]: string;
}
Object.setPrototypeOf(Bag.prototype, null);
Reflect.deleteProperty(Bag.prototype, "constructor");

function recordOf(draft: Draft): Attributes {
  const { specversion, id, source, type, datacontenttype, subject, time, others } = draft;
  if (specversion === undefined) throw missing("specversion");
  if (id === undefined) throw missing("id");
  if (source === undefined) throw missing("source");
  if (type === undefined) throw missing("type");
  const bag = new Bag();
  bag.specversion = specversion;
  bag.id = id;
  bag.source = source;
  bag.type = type;
  if (datacontenttype !== undefined) bag.datacontenttype = datacontenttype;
  if (subject !== undefined) bag.subject = subject;
  if (time !== undefined) bag.time = time;
  for (let at = 0; at < others.length; at += 2) {
    const name = others[at] ?? "";
    const value = others[at + 1] ?? "";
    if (bag[name] !== undefined) throw setTwice(name, value);
    bag[name] = value;
  }
  return bag as Attributes;
}

function missing(name: string): MeshError {
  return eventInvalid(name, "the attribute to be there");
}

function setTwice(name: string, value: string): MeshError {
  return eventInvalid(name, "each attribute at most once", value);
}

function attributesTooLarge(bytesMax: number): MeshError {
  return new MeshError("HEADERS_TOO_LARGE", {
    expected: `attributes of at most ${bytesMax} bytes`,
    fix: "Move large values from the attributes into the data",
  });
}
