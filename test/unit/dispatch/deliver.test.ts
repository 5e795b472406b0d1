import { describe, expect, test } from "vitest";
import {
  afterFailure,
  base64Beginning,
  judge,
  judgeSink,
  type Verdict,
} from "../../../src/mesh/dispatch/deliver.ts";
import type { SendResult } from "../../../src/mesh/dispatch/send.ts";
import type { ResponseHeaders } from "../../../src/mesh/event/http.ts";
import type { DeliveryPolicy } from "../../../src/mesh/routes/route.ts";

const policy: DeliveryPolicy = {
  retryMax: 2,
  backoffPolicy: "linear",
  backoffDelayMs: 100,
  timeoutMs: 1000,
  retryAfterMaxMs: 3_600_000,
  format: undefined,
};
const circumstances = { policy, failedBefore: 0, nowMs: 0, random: 0 };

function answered(status: number, body = "", headers: ResponseHeaders = {}): SendResult {
  return { kind: "answered", status, headers, body: Buffer.from(body), truncated: false, ms: 5 };
}

const replyHeaders = {
  "ce-specversion": "1.0",
  "ce-id": "r1",
  "ce-source": "/f",
  "ce-type": "reply",
};

function summary(verdict: Verdict): string {
  switch (verdict.kind) {
    case "done":
      return `done${verdict.reply ? ` reply ${verdict.reply.attributes.type}` : ""}${verdict.note ? " noted" : ""}`;
    case "retry":
      return `retry ${verdict.why.error} after ${verdict.afterMs}`;
    case "dead":
      return `dead ${verdict.reason} ${verdict.why.error}`;
    case "again":
      return "again";
  }
}

describe("judge", () => {
  // DESIGN §5; sheet knative-eventing §5.3–5.5 and §12 rows 2 and 3.
  test.each<[string, SendResult, string]>([
    ["200 empty", answered(200), "done"],
    ["204", answered(204), "done"],
    [
      "200 with a binary event",
      answered(200, "{}", { ...replyHeaders, "content-type": "application/json" }),
      "done reply reply",
    ],
    [
      "200 with a structured event",
      answered(200, '{"specversion":"1.0","id":"1","source":"/f","type":"s"}', {
        "content-type": "application/cloudevents+json",
      }),
      "done reply s",
    ],
    ["202 with an event", answered(202, "{}", replyHeaders), "done noted"],
    ["201 with a body", answered(201, "made"), "done noted"],
    ["200 with a body that is no event", answered(200, "ok", { "content-type": "text/plain" }), "done noted"],
    [
      "200 with an invalid event",
      answered(200, "{}", { ...replyHeaders, "ce-id": "" }),
      "retry ReplyInvalid after 100",
    ],
    [
      "200 with broken structured JSON",
      answered(200, "{", { "content-type": "application/cloudevents+json" }),
      "retry ReplyInvalid after 100",
    ],
    ["404", answered(404), "retry Http404 after 100"],
    ["503 that asks to wait", answered(503, "", { "retry-after": "2" }), "retry Http503 after 2000"],
    ["503 that asks to wait, raw", answered(503, "", ["Retry-After", "2"]), "retry Http503 after 2000"],
    ["429 that asks to wait", answered(429, "", { "retry-after": "2" }), "retry Http429 after 2000"],
    ["500 may not ask to wait", answered(500, "", { "retry-after": "2" }), "retry Http500 after 100"],
    ["400", answered(400), "dead NotRetryable Http400"],
    ["302", answered(302, "", { location: "http://elsewhere" }), "dead NotRetryable Http302"],
    [
      "no answer",
      { kind: "failed", error: "ConnectionRefused", message: "refused", ms: 1 },
      "retry ConnectionRefused after 100",
    ],
    ["a timeout", { kind: "failed", error: "Timeout", message: "late", ms: 1000 }, "retry Timeout after 100"],
    ["our own stop", { kind: "aborted", ms: 1 }, "again"],
  ])("%s", (_what, result, wanted) => {
    expect(summary(judge(result, circumstances))).toBe(wanted);
  });

  test("gives up after the last retry", () => {
    const verdicts = [0, 1, 2].map((failedBefore) =>
      summary(judge(answered(500), { ...circumstances, failedBefore })),
    );
    expect(verdicts).toEqual([
      "retry Http500 after 100",
      "retry Http500 after 200",
      "dead RetriesExhausted Http500",
    ]);
  });

  test("treats an answer larger than an event as a failed attempt", () => {
    const result = { ...answered(200), truncated: true } as SendResult;
    expect(summary(judge(result, circumstances))).toBe("retry ReplyInvalid after 100");
  });
});

describe("judgeSink", () => {
  test.each<[string, SendResult, string]>([
    ["any 2xx is accepted, a reply means nothing", answered(200, "{}", replyHeaders), "done"],
    ["broken replies mean nothing either", answered(200, "{}", { ...replyHeaders, "ce-id": "" }), "done"],
    ["503 is retried", answered(503), "retry Http503 after 100"],
    ["400 gives the sink up", answered(400), "dead NotRetryable Http400"],
  ])("%s", (_what, result, wanted) => {
    expect(summary(judgeSink(result, circumstances))).toBe(wanted);
  });
});

describe("afterFailure", () => {
  test("with no retries is dead at once", () => {
    const verdict = afterFailure(
      { error: "X", ms: 1 },
      { ...circumstances, policy: { ...policy, retryMax: 0 } },
      undefined,
    );
    expect(summary(verdict)).toBe("dead RetriesExhausted X");
  });
});

describe("base64Beginning", () => {
  test("cuts to whole groups within the limit", () => {
    expect(base64Beginning(Buffer.alloc(2000, "a"), 1024)).toHaveLength(1024);
    expect(Buffer.from(base64Beginning(Buffer.alloc(2000, "a"), 1024), "base64")).toHaveLength(768);
    expect(base64Beginning(Buffer.from("hi"), 1024)).toBe("aGk=");
    expect(base64Beginning(Buffer.alloc(0), 1024)).toBe("");
  });
});
