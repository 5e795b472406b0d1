/** `weft request TYPE [-d DATA]`: one event into a broker, and the reply that comes back. */
import { z } from "zod";
import { parseDurationMs } from "../config.ts";
import { MeshError } from "../errors.ts";
import { encodeStructured } from "../event/http.ts";
import { connectClient } from "./client.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { composeEvent, type SendOptions } from "./send.ts";

export interface RequestOptions extends SendOptions {
  readonly wait?: string;
  readonly replyType?: string;
}

const replySchema = z.looseObject({ data: z.unknown().optional(), data_base64: z.string().optional() });
const problemSchema = z.looseObject({ detail: z.string(), reply: z.string().optional() });

/** Prints the reply's data, with --json the whole event; 1 when no reply came. */
export async function runRequest(
  type: string,
  options: RequestOptions,
  context: CliContext,
): Promise<ExitCode> {
  const prefer = options.wait === undefined ? "wait" : `wait=${secondsOf(options.wait)}`;
  const client = await connectClient(options, context);
  const { events } = await client.endpoints();
  const { contentType, body } = encodeStructured(composeEvent(type, options));
  const response = await fetch(`${events}/${options.namespace}/${options.broker}`, {
    method: "POST",
    headers: {
      "content-type": contentType,
      accept: "application/cloudevents+json",
      prefer,
      ...(options.replyType === undefined ? {} : { "weft-reply-type": options.replyType }),
    },
    body: Buffer.from(body),
    signal: context.stop,
  });
  const text = await response.text();
  if (response.status === 200) {
    context.out(`${options.json ? text : dataOf(text)}\n`);
    return 0;
  }
  const problem = problemSchema.safeParse(parseJson(text)).data;
  if (options.json) context.out(`${text}\n`);
  else context.err(`${problem?.detail ?? text}\n`);
  if (problem?.reply !== undefined && !options.json)
    context.err(`fetch it later: curl ${events}${problem.reply}\n`);
  return 1;
}

function secondsOf(wait: string): string {
  const ms = parseDurationMs(wait);
  if (ms !== undefined) return (ms / 1000).toFixed(3);
  throw new MeshError("CONFIG_INVALID", {
    field: "--wait",
    expected: "a duration such as 10s or 500ms",
    found: wait,
  });
}

/** JSON data readable, text as it is, bytes as base64. */
function dataOf(text: string): string {
  const { data, data_base64 } = replySchema.parse(JSON.parse(text));
  if (typeof data === "string") return data;
  return data === undefined ? (data_base64 ?? "") : JSON.stringify(data, null, 2);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
