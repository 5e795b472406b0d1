/** Reads a request body up to a bound that depends on how the event is framed. */
import type { IncomingMessage } from "node:http";
import { MeshError } from "../errors.ts";
import { headerOf } from "../event/http.ts";

export interface BodyLimits {
  /** Largest event the storage takes, data and attributes together, bytes. */
  readonly eventBytesMax: number;
}

const nothing = new Uint8Array(0);
/** Base64 data in a structured event takes a third more, the attributes up to 64 KiB. */
const structuredOverhead = 4 / 3;
const attributesBytes = 128 * 1024;
/** Of a refused body so much is read and thrown away before the connection is cut. */
const discardedBytesMax = 256 * 1024 * 1024;
/** A batch is bounded as a whole: so many events of full size. */
const batchEvents = 4;

/** Resolves to the whole body. Rejects with EVENT_TOO_LARGE before more than the bound is held. */
export function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Uint8Array> {
  const bound = boundFor(request.headers["content-type"] ?? "", limits);
  const announced = Number(request.headers["content-length"] ?? Number.NaN);
  if (announced > bound) return Promise.reject(tooLarge(`${announced} bytes`, bound));
  if (announced === 0) return Promise.resolve(nothing);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > bound) {
        request.pause();
        request.removeAllListeners("data");
        reject(tooLarge(`more than ${bound} bytes`, bound));
        return;
      }
      chunks.push(chunk);
    });
    request.on("end", () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.on("error", (cause) => reject(cutShort(cause)));
    request.on("close", () => {
      if (!request.complete) reject(cutShort(undefined));
    });
  });
}

/** Lets a client that is still sending get to its answer: closing at once would reset the connection instead. */
export function discardRest(request: IncomingMessage): void {
  let length = 0;
  request.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > discardedBytesMax) request.destroy();
  });
  request.resume();
}

/** Throws EVENT_TOO_LARGE when a body that was read otherwise is over the bound. */
export function requireFits(body: Uint8Array, rawHeaders: readonly string[], limits: BodyLimits): void {
  if (body.length <= limits.eventBytesMax) return;
  const bound = boundFor(headerOf(rawHeaders, "content-type") ?? "", limits);
  if (body.length > bound) throw tooLarge(`${body.length} bytes`, bound);
}

function boundFor(contentType: string, { eventBytesMax }: BodyLimits): number {
  const framed = contentType.toLowerCase().startsWith("application/cloudevents");
  if (!framed) return eventBytesMax;
  const structured = Math.ceil(eventBytesMax * structuredOverhead) + attributesBytes;
  return contentType.toLowerCase().startsWith("application/cloudevents-batch")
    ? structured * batchEvents
    : structured;
}

function tooLarge(found: string, bound: number): MeshError {
  return new MeshError("EVENT_TOO_LARGE", {
    field: "body",
    expected: `at most ${bound} bytes`,
    found,
    fix: "Store the data elsewhere and send a reference (dataref), or raise max_payload of the NATS server",
  });
}

function cutShort(cause: unknown): MeshError {
  return new MeshError("REQUEST_INVALID", {
    field: "body",
    found: "the connection closed in the middle",
    cause,
  });
}
