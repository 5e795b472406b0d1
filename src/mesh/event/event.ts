/**
 * WHAT an event is: CloudEvents attributes as their canonical strings, data as untouched bytes.
 *
 * V1  an Event that exists is valid: every decoder validates before it returns one.
 * V2  attribute values are the decoded canonical strings (never percent-encoded), extensions included.
 * V3  data is the payload byte for byte; undefined means no data (an empty payload is no data).
 */
export interface Event {
  /** All attributes by name, the required four included. The record inherits no names; insertion order is kept. */
  readonly attributes: Attributes;
  readonly data: Uint8Array | undefined;
}

export interface Attributes {
  readonly specversion: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly [name: string]: string;
}
