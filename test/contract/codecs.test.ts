import type { Event } from "../../src/mesh/event/event.ts";
import {
  type Decoded,
  decodeHttp,
  decodeHttpResponse,
  encodeBinaryHeaders,
  encodeStructured,
} from "../../src/mesh/event/http.ts";
import { decodeJson, encodeJson, encodeJsonBatch } from "../../src/mesh/event/json.ts";
import { decodeNats, decodeRawNats, encodeNatsHeaders } from "../../src/mesh/event/nats.ts";
import { codecContract } from "./codec-contract.ts";

const nothing = new Uint8Array(0);

codecContract({ name: "HTTP binary", isJson: false, roundTrip: overHttpBinary, carries: isNoNestedEvent });
codecContract({ name: "HTTP structured", isJson: true, roundTrip: overHttpStructured });
codecContract({ name: "HTTP batch", isJson: true, roundTrip: overHttpBatch });
codecContract({ name: "HTTP response", isJson: false, roundTrip: overResponse, carries: isNoNestedEvent });
codecContract({ name: "JSON", isJson: true, roundTrip: (event) => decodeJson(encodeJson(event)) });
codecContract({ name: "NATS binary", isJson: false, roundTrip: overNats });
codecContract({ name: "NATS structured", isJson: true, roundTrip: overNatsStructured });
codecContract({
  name: "HTTP binary → NATS → HTTP structured",
  isJson: true,
  roundTrip: (event) => overHttpStructured(overNats(overHttpBinary(event))),
  carries: isNoNestedEvent,
});
codecContract({
  name: "HTTP batch → NATS → HTTP binary",
  isJson: true,
  roundTrip: (event) => overHttpBinary(overNats(overHttpBatch(event))),
  carries: isNoNestedEvent,
});

function overHttpBinary(event: Event): Event {
  return single(decodeHttp(["Host", "h", ...encodeBinaryHeaders(event)], event.data ?? nothing));
}

function overHttpStructured(event: Event): Event {
  const { contentType, body } = encodeStructured(event);
  return single(decodeHttp(["Content-Type", contentType], body));
}

function overHttpBatch(event: Event): Event {
  const body = encodeJsonBatch([event, event]);
  const decoded = decodeHttp(["Content-Type", "application/cloudevents-batch+json"], body);
  if (decoded.kind !== "batch" || decoded.events[1] === undefined) throw new Error("expected a batch of two");
  return decoded.events[1];
}

function overResponse(event: Event): Event {
  const raw = encodeBinaryHeaders(event);
  const record: Record<string, string> = {};
  for (let at = 0; at + 1 < raw.length; at += 2) record[raw[at] ?? ""] = raw[at + 1] ?? "";
  const decoded = decodeHttpResponse(record, event.data ?? nothing);
  if (decoded.kind !== "event") throw new Error(`expected an event, got ${JSON.stringify(decoded)}`);
  return decoded.event;
}

function overNats(event: Event): Event {
  return decodeRawNats(encodeNatsHeaders(event), event.data ?? nothing);
}

function overNatsStructured(event: Event): Event {
  return decodeNats([["content-type", ["application/cloudevents+json"]]], encodeJson(event));
}

/** Binary mode cannot say that the data is itself an event in JSON: its receiver would unpack it. */
function isNoNestedEvent({ attributes }: Event): boolean {
  return !(attributes.datacontenttype ?? "").startsWith("application/cloudevents");
}

function single(decoded: Decoded): Event {
  if (decoded.kind !== "event") throw new Error("expected one event");
  return decoded.event;
}
