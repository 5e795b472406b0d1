/**
 * Event POSTs in the plainest form, the many: read without node:http, answered as app.ts answers them. What needs
 * more (functions by host name, waiting for a reply, other methods and paths) is left to app.ts.
 */
import type { PlainAnswer, PlainHandler, PlainRequest } from "../http1/plain-lane.ts";
import { accept } from "./accept.ts";
import { accepted, refusalAnswer } from "./answer.ts";
import type { IngressParts } from "./app.ts";
import { requireFits } from "./body.ts";

const brokerTarget = /^\/[^/?]+\/[^/?]+$/;

export type PlainParts = Pick<
  IngressParts,
  "table" | "store" | "journal" | "now" | "onUnmatched" | "log" | "limits" | "refusal" | "isFunctionHost"
>;

export function createPlainIngress(parts: PlainParts): PlainHandler {
  // Most requests say what the one before said.
  let lastHost = { text: "", isFunction: false };
  const isFunction = (text: string) => {
    if (text !== lastHost.text) lastHost = { text, isFunction: parts.isFunctionHost(text) };
    return lastHost.isFunction;
  };
  return {
    takes: ({ target, host }) => brokerTarget.test(target) && !isFunction(host),
    answer: (request) => answer(parts, request),
  };
}

async function answer(parts: PlainParts, { target, fields, body }: PlainRequest): Promise<PlainAnswer> {
  try {
    const path = target.slice(1);
    const refusal = parts.refusal(path);
    if (refusal !== undefined) throw refusal;
    const limits = parts.limits();
    requireFits(body, fields, limits);
    await accept(parts, { path, rawHeaders: fields, body, limits });
    return accepted;
  } catch (error) {
    return refusalAnswer(parts.log, error);
  }
}
