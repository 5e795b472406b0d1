/** What a producer is answered, whichever way the request was read. */
import { MeshError } from "../errors.ts";
import type { PlainAnswer as Answer } from "../http1/plain-lane.ts";
import type { Log } from "../log.ts";

export type { Answer };

export const allowedMethods = "POST, OPTIONS";
const retryAfterSeconds = "1";

/** The event, or every event of the batch, is stored. */
export const accepted: Answer = { status: 202, fields: ["allow", allowedMethods], body: "" };

/** A MeshError as problem details (RFC 9457); anything else is a fault of ours, logged. */
export function refusalAnswer(log: Log, error: unknown): Answer {
  if (!(error instanceof MeshError)) log.error({ stage: "ingress", error }, "a request failed");
  const refusal =
    error instanceof MeshError ? error : new MeshError("STORAGE_UNAVAILABLE", { found: "an internal error" });
  const fields = ["allow", allowedMethods, "content-type", "application/problem+json"];
  if (refusal.status === 503) fields.push("retry-after", retryAfterSeconds);
  return { status: refusal.status, fields, body: JSON.stringify(refusal.toProblem()) };
}
