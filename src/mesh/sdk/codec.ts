/**
 * The HTTP form of events for the runner: which requests are events, and how a reply is written. The rules
 * are event/'s; only the seam is here.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Attributes, Event } from "../event/event.ts";

export interface HttpMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}

/** True when the request says that it carries an event; decoding may still fail. */
export function claimsEvent(headers: IncomingHttpHeaders): boolean {
  return (
    headers["ce-specversion"] !== undefined ||
    String(headers["content-type"] ?? "")
      .trimStart()
      .toLowerCase()
      .startsWith("application/cloudevents")
  );
}

/** Throws, saying which rule is broken, when the message is no valid event. */
export function decodeRequest(headers: IncomingHttpHeaders, body: Uint8Array): Event {
  const contentType = headers["content-type"];
  const attributes: Record<string, string> = Object.create(null);
  let data: Uint8Array | undefined = body.byteLength === 0 ? undefined : body;
  if (contentType?.startsWith("application/cloudevents")) {
    const { data: value, data_base64: base64, ...rest } = JSON.parse(Buffer.from(body).toString("utf8"));
    for (const [name, one] of Object.entries(rest)) attributes[name] = String(one);
    data =
      typeof base64 === "string"
        ? Buffer.from(base64, "base64")
        : value === undefined
          ? undefined
          : Buffer.from(JSON.stringify(value));
    if (data !== undefined) attributes.datacontenttype ??= "application/json";
  } else {
    for (const [name, value] of Object.entries(headers)) {
      if (name.startsWith("ce-")) attributes[name.slice(3)] = decodeURIComponent(String(value));
    }
    if (contentType !== undefined) attributes.datacontenttype = contentType;
  }
  for (const name of ["specversion", "id", "source", "type"]) {
    if (!attributes[name]) throw new Error(`Expected the event to have ${name}`);
  }
  return { attributes: attributes as Attributes, data };
}

/** Binary mode. */
export function encodeReply(event: Event): HttpMessage {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(event.attributes)) {
    if (name === "datacontenttype") headers["content-type"] = value;
    else headers[`ce-${name}`] = value.replace(/[^\x21\x23\x24\x26-\x7e]/gu, (c) => encodeURIComponent(c));
  }
  return { headers, body: event.data };
}
