/** An answer on its way from dispatcher to waiter: the reply as it is stored, or the reason why there is none. */
import type { Msg } from "@nats-io/nats-core";
import type { RawHeaders } from "../stream/publish.ts";
import { decodeStored } from "../stream/stored-event.ts";
import { type Answer, type Dead, deadSchema } from "./ending.ts";

const kindHeader = "weft-answer";

export function encodeDead(dead: Dead): { headers: RawHeaders; payload: Uint8Array } {
  return { headers: [kindHeader, "dead"], payload: Buffer.from(JSON.stringify(dead)) };
}

/** Throws when it is neither. */
export function decodeAnswer(message: Pick<Msg, "headers" | "data">): Answer {
  if (message.headers?.get(kindHeader) !== "dead") return { kind: "reply", event: decodeStored(message) };
  return deadSchema.parse(JSON.parse(Buffer.from(message.data).toString("utf8")));
}
