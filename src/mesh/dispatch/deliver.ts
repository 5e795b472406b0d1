/**
 * What one attempt means: a pure decision from what came back to a Verdict. settle.ts acts on it.
 *
 *   answered 2xx ── 200 with a CloudEvent ──► done + reply      (202 is never a reply)
 *        │      └── claims to be one, is not ─► failed attempt   ──┐
 *        │      └── anything else ────────────► done (noted)       │
 *        ├── 404 408 409 429 5xx ─────────────► failed attempt   ──┤──► retries left? ─► retry after d
 *        ├── every other status ──────────────► dead               │                └──► dead
 *   no answer, timeout ───────────────────────► failed attempt   ──┘
 *   aborted by us, no capacity ───────────────► again (never an attempt)
 */
import { Buffer } from "node:buffer";
import type { Event } from "../event/event.ts";
import { decodeHttpResponse, headerOf } from "../event/http.ts";
import type { DeliveryPolicy } from "../routes/route.ts";
import { classifyStatus, parseRetryAfter, retryDelayMs } from "./policy.ts";
import type { SendResult } from "./send.ts";

/** Why an attempt failed; what the journal, the dead letter and `knativeerror*` tell. */
export interface Failure {
  /** `Http503`, `Timeout`, `ConnectionRefused`, `ReplyInvalid`, `LoopDetected`, … */
  readonly error: string;
  readonly message?: string;
  readonly status?: number;
  readonly body?: Uint8Array;
  readonly ms: number;
}

/** Why no further attempt is made. */
export type DeadReason = "RetriesExhausted" | "NotRetryable" | "LoopDetected" | "EventInvalid";

export type Verdict =
  | {
      readonly kind: "done";
      readonly status: number;
      readonly ms: number;
      readonly reply?: Event;
      readonly note?: string;
    }
  | { readonly kind: "retry"; readonly afterMs: number; readonly why: Failure }
  | { readonly kind: "dead"; readonly reason: DeadReason; readonly why: Failure }
  /** Not an attempt: deliver it again later. */
  | { readonly kind: "again"; readonly afterMs: number };

export interface Circumstances {
  readonly policy: DeliveryPolicy;
  /** Failed attempts of this phase before this one. */
  readonly failedBefore: number;
  readonly nowMs: number;
  /** In [0, 1), for jitter. */
  readonly random: number;
}

/** The verdict on an attempt at a subscriber, whose answer may be a reply event. */
export function judge(result: SendResult, circumstances: Circumstances): Verdict {
  switch (result.kind) {
    case "aborted":
      return { kind: "again", afterMs: 0 };
    case "failed":
      return afterFailure(result, circumstances, undefined);
    case "answered":
      return judgeAnswer(result, circumstances);
  }
}

/** The verdict on an attempt at a dead-letter sink: any 2xx is accepted, its body means nothing. */
export function judgeSink(result: SendResult, circumstances: Circumstances): Verdict {
  if (result.kind !== "answered" || classifyStatus(result.status) !== "delivered") {
    return judge(result, circumstances);
  }
  return { kind: "done", status: result.status, ms: result.ms };
}

/** A failed attempt becomes a retry while the policy has any left. */
export function afterFailure(
  why: Failure,
  { policy, failedBefore, random }: Circumstances,
  retryAfterMs: number | undefined,
): Verdict {
  const n = failedBefore + 1;
  if (n > policy.retryMax) return { kind: "dead", reason: "RetriesExhausted", why };
  return { kind: "retry", afterMs: retryDelayMs(policy, { n, retryAfterMs, random }), why };
}

type Answer = Extract<SendResult, { kind: "answered" }>;

function judgeAnswer(answer: Answer, circumstances: Circumstances): Verdict {
  const { status, ms } = answer;
  switch (classifyStatus(status)) {
    case "delivered":
      return judgeReply(answer, circumstances);
    case "dead":
      return { kind: "dead", reason: "NotRetryable", why: httpFailure(answer) };
    case "retry": {
      const honoured = status === 429 || status === 503;
      const header = honoured ? headerOf(answer.headers, "retry-after") : undefined;
      const why = { ...httpFailure(answer), ms };
      return afterFailure(why, circumstances, parseRetryAfter(header, circumstances.nowMs));
    }
  }
}

function judgeReply(answer: Answer, circumstances: Circumstances): Verdict {
  const { status, ms } = answer;
  const done = { kind: "done", status, ms } as const;
  if (answer.truncated) {
    return afterFailure(
      replyFailure(answer, "the answer is larger than an event may be"),
      circumstances,
      undefined,
    );
  }
  if (status !== 200) {
    return answer.body.length === 0 ? done : { ...done, note: `the body of a ${status} is never a reply` };
  }
  const reply = decodeHttpResponse(answer.headers, answer.body);
  switch (reply.kind) {
    case "none":
      return answer.body.length === 0 ? done : { ...done, note: "the body is no CloudEvent and was ignored" };
    case "event":
      return { ...done, reply: reply.event };
    case "malformed":
      return afterFailure(replyFailure(answer, reply.reason), circumstances, undefined);
  }
}

function httpFailure({ status, body, ms }: Answer): Failure {
  return { error: `Http${status}`, status, body, ms };
}

function replyFailure({ status, body, ms }: Answer, message: string): Failure {
  return { error: "ReplyInvalid", message, status, body, ms };
}

/** Standard base64 of the beginning of an answer, at most `charsMax` characters (sheet knative-eventing §5.7). */
export function base64Beginning(body: Uint8Array, charsMax: number): string {
  const bytes = Math.floor(charsMax / 4) * 3;
  return Buffer.from(body.subarray(0, bytes)).toString("base64");
}
