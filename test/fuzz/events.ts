/**
 * A long fuzz of the event codecs, by hand: `node test/fuzz/events.ts [seconds] [seed]`.
 * Valid events must pass every pair of modes unchanged; whatever is read or refused must be read or refused
 * with a MeshError, quickly. Prints the seed; ends with 1 and a counterexample when a property fails.
 */
import fc from "fast-check";
import { MeshError } from "../../src/mesh/errors.ts";
import type { Event } from "../../src/mesh/event/event.ts";
import {
  decodeHttp,
  decodeHttpResponse,
  encodeBinaryHeaders,
  encodeStructured,
} from "../../src/mesh/event/http.ts";
import {
  decodeJson,
  encodeJson,
  encodeJsonBatch,
  eventFromJson,
  toJsonObject,
} from "../../src/mesh/event/json.ts";
import { isJsonText } from "../../src/mesh/event/json-text.ts";
import { isJsonType } from "../../src/mesh/event/media-type.ts";
import { decodeNats, decodeRawNats, encodeNatsHeaders } from "../../src/mesh/event/nats.ts";
import { arbitraryBody, arbitraryEvent, arbitraryRawHeaders } from "./arbitrary-event.ts";

const seconds = Number(process.argv[2] ?? 30);
const firstSeed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const slowestMs = 1000;
const end = Date.now() + seconds * 1000;

let runs = 0;
for (let seed = firstSeed; Date.now() < end; seed += 1) {
  const parameters = { seed, numRuns: 2000 };
  fc.assert(fc.property(arbitraryEvent, passesAllModes), parameters);
  fc.assert(fc.property(arbitraryRawHeaders, arbitraryBody, isReadOrRefused), parameters);
  fc.assert(fc.property(arbitraryBody, agreesWithJsonParse), parameters);
  runs += 3 * parameters.numRuns;
  console.log(`seed ${seed}: ${runs} runs`);
}

function passesAllModes(event: Event): void {
  const fromJson = decodeJson(encodeJson(event));
  if (event.attributes.specversion === "1.0") expectSame(fromJson, withTrimmedJson(event));
  // What JSON does to an event it does once: 0.3's encoding and the blanks around JSON data are gone then.
  for (const start of [event, fromJson]) {
    const data = start.data ?? new Uint8Array(0);
    const binary = isCloudEventType(start) ? start : single(decodeHttp(encodeBinaryHeaders(start), data));
    const nats = decodeRawNats(encodeNatsHeaders(start), data);
    expectSame(binary, start);
    expectSame(nats, start);
  }
  const { contentType, body } = encodeStructured(fromJson);
  expectSame(single(decodeHttp(["Content-Type", contentType], body)), fromJson);
  const batch = decodeHttp(
    ["Content-Type", "application/cloudevents-batch+json"],
    encodeJsonBatch([fromJson]),
  );
  if (batch.kind !== "batch" || batch.events[0] === undefined) throw new Error("expected a batch of one");
  expectSame(batch.events[0], fromJson);
  eventFromJson(toJsonObject(event));
}

function isReadOrRefused(rawHeaders: string[], body: Uint8Array): void {
  const start = Date.now();
  const read: Event[] = [];
  try {
    const decoded = decodeHttp(rawHeaders, body);
    read.push(...(decoded.kind === "event" ? [decoded.event] : decoded.events));
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    JSON.stringify(error.toProblem());
  }
  try {
    const pairs: [string, string[]][] = [];
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      pairs.push([rawHeaders[at] ?? "", [rawHeaders[at + 1] ?? ""]]);
    }
    read.push(decodeNats(pairs, body));
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
  }
  decodeHttpResponse(rawHeaders, body);
  for (const event of read) passesAllModes(event);
  if (Date.now() - start > slowestMs) throw new Error("took too long");
}

function agreesWithJsonParse(body: Uint8Array): void {
  const text = Buffer.from(body).toString("utf8");
  if (isJsonText(Buffer.from(text)) !== parses(text)) throw new Error("disagrees with JSON.parse");
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON data without the white space around it. */
function withTrimmedJson(event: Event): Event {
  const { attributes, data } = event;
  if (data === undefined || !isJsonType(attributes.datacontenttype ?? "") || !isJsonText(data)) return event;
  const text = Buffer.from(data).toString("latin1");
  return { attributes, data: Buffer.from(text.replace(/^[ \n\r\t]+|[ \n\r\t]+$/g, ""), "latin1") };
}

function single(decoded: ReturnType<typeof decodeHttp>): Event {
  if (decoded.kind !== "event") throw new Error("expected one event");
  return decoded.event;
}

function isCloudEventType({ attributes }: Event): boolean {
  return attributes.datacontenttype?.toLowerCase().startsWith("application/cloudevents") ?? false;
}

function expectSame(actual: Event, expected: Event): void {
  const [one, other] = [actual, expected].map(({ attributes, data }) =>
    JSON.stringify([
      Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)),
      Buffer.from(data ?? []).toString("base64"),
    ]),
  );
  if (one !== other) throw new Error(`changed:\n${one}\n${other}`);
}
