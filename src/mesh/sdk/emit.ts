/** `ctx.emit`: one event to a broker's ingress; resolves only when the broker has stored it. */
import { request } from "node:http";
import type { Event } from "../event/event.ts";
import { encodeReply } from "./codec.ts";

const answerBytesMax = 1024;

export interface EmitTarget {
  readonly ingressUrl: string | undefined;
  readonly namespace: string;
  readonly broker: string | undefined;
  readonly signal: AbortSignal;
}

/** Rejects, with the broker's own words, when the event was not stored. */
export function emitEvent(
  event: Event,
  { ingressUrl, namespace, broker, signal }: EmitTarget,
): Promise<void> {
  if (ingressUrl === undefined) throw new Error("ctx.emit: this function was given no broker to send to");
  if (broker === undefined) {
    throw new Error("ctx.emit: expected { broker } because this call did not come from a broker");
  }
  const { headers, body } = encodeReply(event);
  const url = new URL(`/${encodeURIComponent(namespace)}/${encodeURIComponent(broker)}`, ingressUrl);
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: "POST", headers: { ...headers }, signal }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        if (text.length < answerBytesMax) text += chunk;
      });
      response.on("error", reject);
      response.on("end", () => {
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve();
        else reject(new Error(`ctx.emit: the broker answered ${status}: ${text.slice(0, answerBytesMax)}`));
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
