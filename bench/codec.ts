/**
 * What reading and writing an event costs, as ratios to the `cloudevents` package measured in the same run.
 * By hand: `node bench/codec.ts [seconds per case]`. Both sides take turns in short rounds and the best round
 * counts: noise of the machine only ever adds.
 */
import { CloudEvent, HTTP } from "cloudevents";
import { decodeHttp, encodeBinaryHeaders, encodeStructured } from "../src/mesh/event/http.ts";
import { decodeRawNats, encodeNatsHeaders } from "../src/mesh/event/nats.ts";
import { type Figure, figuresOf, reportFigures } from "./figure.ts";

interface Comparison {
  readonly name: string;
  readonly ours: () => unknown;
  readonly sdk: () => unknown;
}

const rounds = 20;
const secondsPerCase = Number(process.argv[2] ?? 2);
const roundNs = (secondsPerCase * 1e9) / rounds;

const data = {
  orderId: "o-4711",
  amount: 12.5,
  currency: "EUR",
  items: [1, 2, 3],
  note: "deliver to the back door please",
};
const attributes = {
  id: "7f0c1e9e-6c57-4f43-9f2c-6d6f0a3b2c11",
  source: "/shop/eu/checkout",
  type: "com.example.order.created",
  subject: "orders/4711",
  time: "2026-01-31T12:00:00.123Z",
  partitionkey: "customer-42",
};
const traffic = ["Host", "127.0.0.1:8080", "User-Agent", "bench", "Accept", "*/*", "Content-Length", "118"];

const json = JSON.stringify(data);
const jsonBody = Buffer.from(json);
const structuredBody = Buffer.from(
  JSON.stringify({ specversion: "1.0", ...attributes, datacontenttype: "application/json", data }),
);
const sdkEvent = new CloudEvent({ ...attributes, datacontenttype: "application/json", data });
const event = single(decodeHttp(rawHeadersFor("application/json"), jsonBody));
const [jsonRaw, otherRaw] = [rawHeadersFor("application/json"), rawHeadersFor("application/octet-stream")];
const [jsonRecord, otherRecord] = [recordFor("application/json"), recordFor("application/octet-stream")];
const stored = encodeNatsHeaders(event);

const comparisons: readonly Comparison[] = [
  {
    name: "decode binary, JSON data",
    ours: () => decodeHttp(jsonRaw, jsonBody),
    sdk: () => HTTP.toEvent({ headers: jsonRecord, body: json }),
  },
  {
    name: "decode binary, other data",
    ours: () => decodeHttp(otherRaw, jsonBody),
    sdk: () => HTTP.toEvent({ headers: otherRecord, body: json }),
  },
  {
    name: "decode structured",
    ours: () => decodeHttp(["Content-Type", "application/cloudevents+json"], structuredBody),
    sdk: () =>
      HTTP.toEvent({
        headers: { "content-type": "application/cloudevents+json" },
        body: structuredBody.toString("utf8"),
      }),
  },
  { name: "encode binary", ours: () => encodeBinaryHeaders(event), sdk: () => HTTP.binary(sdkEvent) },
  { name: "encode structured", ours: () => encodeStructured(event), sdk: () => HTTP.structured(sdkEvent) },
  {
    name: "NATS there and back (SDK: binary)",
    ours: () => [encodeNatsHeaders(event), decodeRawNats(stored, jsonBody)],
    sdk: () => [HTTP.binary(sdkEvent), HTTP.toEvent({ headers: jsonRecord, body: json })],
  },
];

const figures: Figure[] = [];
console.log("\ncase                                 ours µs    sdk µs     ratio");
for (const { name, ours, sdk } of comparisons) {
  const oursNs: number[] = [];
  const sdkNs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    oursNs.push(costNs(ours));
    sdkNs.push(costNs(sdk));
  }
  const [mine, theirs] = [Math.min(...oursNs), Math.min(...sdkNs)];
  figures.push(
    ...figuresOf({ part: "codec", name }, [
      ["ours µs", "less", mine / 1000],
      ["sdk µs", "less", theirs / 1000],
      ["sdk/ours", "more", theirs / mine],
    ]),
  );
  const columns = [(mine / 1000).toFixed(2), (theirs / 1000).toFixed(2), `${(theirs / mine).toFixed(1)} ×`];
  console.log(name.padEnd(34) + columns.map((column) => column.padStart(10)).join(""));
}
await reportFigures(figures);
process.exit(0);

/** Nanoseconds per call over one round. */
function costNs(call: () => unknown): number {
  let calls = 0;
  let sink = 0;
  const start = process.hrtime.bigint();
  let passed = 0;
  while (passed < roundNs) {
    for (let time = 0; time < 500; time += 1) if (call() !== undefined) sink += 1;
    calls += 500;
    passed = Number(process.hrtime.bigint() - start);
  }
  if (sink !== calls) throw new Error("a call returned nothing");
  return passed / calls;
}

function rawHeadersFor(contentType: string): string[] {
  const raw = [...traffic, "Content-Type", contentType, "ce-specversion", "1.0"];
  for (const [name, value] of Object.entries(attributes)) raw.push(`ce-${name}`, value);
  // Flat strings, as a parser makes them.
  return raw.map((text) => Buffer.from(text, "latin1").toString("latin1"));
}

function recordFor(contentType: string): Record<string, string> {
  const record: Record<string, string> = { host: "127.0.0.1:8080", "user-agent": "bench", accept: "*/*" };
  record["content-type"] = contentType;
  record["ce-specversion"] = "1.0";
  for (const [name, value] of Object.entries(attributes)) record[`ce-${name}`] = value;
  return record;
}

function single(decoded: ReturnType<typeof decodeHttp>) {
  if (decoded.kind !== "event") throw new Error("expected one event");
  return decoded.event;
}
