/** HOW LARGE an event may be. Every bound has a name and a default here. */
import { MeshError } from "../errors.ts";

/** What may be asked of an event's size; what is left out has the default below. */
export interface EventLimits {
  /** All attributes as one NATS header block, percent-encoding included. */
  readonly attributesBytesMax?: number;
  /** Events in one batch. */
  readonly batchEventsMax?: number;
  /** The body or payload an event is read from; unlimited when left out (the caller has it in memory already). */
  readonly bodyBytesMax?: number;
}

/** What is accepted from outside: an intermediary must forward events of 64 KiB, and they may be all attributes. */
export const attributesBytesMaxDefault = 64 * 1024;
/** What is accepted from within: the mesh adds attributes to an event, and must never refuse what it took. */
export const attributesBytesMaxStored = 2 * attributesBytesMaxDefault;
export const batchEventsMaxDefault = 1000;
/** Members of one JSON event that are null: they cost memory but no attribute bytes. */
export const nullMembersMax = 1000;

/** Throws EVENT_TOO_LARGE when the body is larger than the caller accepts. */
export function requireBodySize(body: Uint8Array, { bodyBytesMax }: EventLimits): void {
  if (bodyBytesMax === undefined || body.length <= bodyBytesMax) return;
  throw new MeshError("EVENT_TOO_LARGE", {
    expected: `at most ${bodyBytesMax} bytes`,
    found: `${body.length} bytes`,
  });
}
