/** `weft send TYPE [-d DATA]`: one event into a broker, as any producer would send it. */
import { randomUUID } from "node:crypto";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { encodeStructured } from "../event/http.ts";
import { eventFromJson } from "../event/json.ts";
import { connectClient, type ServerOptions } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";

export interface SendOptions extends ServerOptions {
  readonly data?: string;
  readonly broker: string;
  readonly namespace: string;
  readonly source: string;
  readonly id?: string;
  readonly subject?: string;
  readonly extension: readonly string[];
  readonly json?: boolean;
}

export async function runSend(type: string, options: SendOptions, context: CliContext): Promise<ExitCode> {
  const client = await connectClient(options, context);
  const { events } = await client.endpoints();
  const event = composeEvent(type, options);
  const { id } = event.attributes;
  const { contentType, body } = encodeStructured(event);
  const url = `${events}/${options.namespace}/${options.broker}`;
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": contentType },
    body: Buffer.from(body),
    signal: context.stop,
  });
  if (response.status !== 202) {
    const text = await response.text();
    context.err(`${url} answered ${response.status}: ${problemText(text)}\n`);
    return 1;
  }
  context.out(options.json ? `${JSON.stringify({ id, type, url })}\n` : `accepted ${type} ${id} by ${url}\n`);
  return 0;
}

/** The event that the options describe. */
export function composeEvent(type: string, options: SendOptions): Event {
  return eventFromJson({
    specversion: "1.0",
    id: options.id ?? randomUUID(),
    type,
    source: options.source,
    ...(options.subject === undefined ? {} : { subject: options.subject }),
    ...Object.fromEntries(options.extension.map(parseExtension)),
    ...parseData(options.data),
  });
}

function parseExtension(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new MeshError("CONFIG_INVALID", { field: "--extension", expected: "name=value", found: text });
}

/** JSON when it is JSON, else text. */
function parseData(data: string | undefined): Record<string, unknown> {
  if (data === undefined) return {};
  try {
    return { datacontenttype: "application/json", data: JSON.parse(data) };
  } catch {
    return { datacontenttype: "text/plain", data };
  }
}

function problemText(body: string): string {
  try {
    const { detail } = JSON.parse(body) as { detail?: unknown };
    return typeof detail === "string" ? detail : body;
  } catch {
    return body;
  }
}
