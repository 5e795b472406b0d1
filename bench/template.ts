/**
 * Requests of one shape, made once: each next one is the same bytes with other digits in them. A generator that
 * put every request together anew would cost as much as what it measures.
 */
import { Buffer } from "node:buffer";

export interface EventShape {
  readonly mode: "binary" | "structured" | "batch";
  /** Bytes of data per event. */
  readonly size: number;
  readonly type: string;
  /** Events in one batch. */
  readonly batch: number;
  /** What all ids begin with; no two templates share it. */
  readonly idPrefix: string;
}

/** Of the number in an id, and of a moment in microseconds. */
const [numberDigits, momentDigits] = [9, 16];
const numberHole = "#".repeat(numberDigits);
const momentHole = "@".repeat(momentDigits);

export class RequestTemplate {
  readonly eventsPerRequest: number;
  #bytes: Buffer;
  /** Where the holes end in the bytes. */
  readonly #numberEnds: readonly number[];
  readonly #momentEnds: readonly number[];
  #number = 0;

  constructor(url: URL, shape: EventShape) {
    this.eventsPerRequest = shape.mode === "batch" ? shape.batch : 1;
    this.#bytes = Buffer.from(requestText(url, shape), "latin1");
    this.#numberEnds = endsOf(this.#bytes, numberHole);
    this.#momentEnds = endsOf(this.#bytes, momentHole);
  }

  /**
   * The next request: valid until the one after it. `sentUs`: when it was due by the clock of `clock.ts`, which
   * the sink measures from.
   */
  next(sentUs: number): Buffer {
    this.#number++;
    for (const end of this.#numberEnds)
      writeDigits(this.#bytes, { end, value: this.#number, digits: numberDigits });
    const [high, low] = [Math.floor(sentUs / 1e8), sentUs % 1e8];
    for (const end of this.#momentEnds) {
      writeDigits(this.#bytes, { end: end - 8, value: high, digits: 8 });
      writeDigits(this.#bytes, { end, value: low, digits: 8 });
    }
    return this.#bytes;
  }

  /** Somebody still holds the bytes of the last request: the next one gets bytes of its own. */
  detach(): void {
    this.#bytes = Buffer.from(this.#bytes);
  }
}

function requestText(url: URL, shape: EventShape): string {
  const { mode, type, idPrefix } = shape;
  const data = JSON.stringify({ pad: "x".repeat(Math.max(0, shape.size - 10)) });
  const line = `POST ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  if (mode === "binary") {
    return (
      `${line}ce-specversion: 1.0\r\nce-id: ${idPrefix}${numberHole}\r\nce-source: /bench\r\nce-type: ${type}\r\n` +
      `ce-sentus: ${momentHole}\r\ncontent-type: application/json\r\ncontent-length: ${data.length}\r\n\r\n${data}`
    );
  }
  const event = (id: string) =>
    `{"specversion":"1.0","id":"${id}","source":"/bench","type":"${type}","sentus":"${momentHole}",` +
    `"datacontenttype":"application/json","data":${data}}`;
  const events = Array.from({ length: mode === "batch" ? shape.batch : 1 }, (_, i) =>
    event(`${idPrefix}${i}-${numberHole}`),
  );
  const body = mode === "batch" ? `[${events.join(",")}]` : events.join("");
  const media = mode === "batch" ? "application/cloudevents-batch+json" : "application/cloudevents+json";
  return `${line}content-type: ${media}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function endsOf(bytes: Buffer, hole: string): number[] {
  const ends: number[] = [];
  for (let at = bytes.indexOf(hole); at !== -1; at = bytes.indexOf(hole, at + hole.length)) {
    ends.push(at + hole.length);
  }
  return ends;
}

/** Right-aligned, with leading zeros. */
function writeDigits(
  bytes: Buffer,
  { end, value, digits }: { end: number; value: number; digits: number },
): void {
  let rest = value;
  for (let at = end - 1; at >= end - digits; at--) {
    const shorter = Math.floor(rest / 10);
    bytes[at] = 0x30 + rest - shorter * 10;
    rest = shorter;
  }
}
