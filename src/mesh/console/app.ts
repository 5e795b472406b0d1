/**
 * The control port for people and tools: health, status, dead letters, applying manifests, following along.
 * The Kubernetes-style API is mounted beside it.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { stream } from "hono/streaming";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { MeshError, messageOf } from "../errors.ts";
import type { JournalRecord } from "../journal/record.ts";
import type { Log } from "../log.ts";
import { type DeadLetterParts, mountDeadLetters } from "./dead-letters.ts";
import { type Rejected, type StatusParts, StatusReader } from "./status.ts";
import { mountTriggers, type TriggerDesk } from "./triggers.ts";
import { mountWhy, type WhyParts } from "./why.ts";

export interface AppliedObject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly result: "created" | "configured" | "unchanged";
}

export interface ConsoleParts extends StatusParts, DeadLetterParts, WhyParts {
  readonly log: Log;
  /** Where events go in. */
  readonly eventsUrl: () => string;
  /** Why the mesh is not ready; undefined when it is. */
  readonly notReady: () => string | undefined;
  /** Asks NATS for a sign of life; why it is not there, or undefined. */
  readonly natsTrouble: () => Promise<string | undefined>;
  /** Throws while the mesh is still starting. */
  readonly triggerDesk: () => TriggerDesk;
  readonly follow: (onRecord: (record: JournalRecord) => void) => { close(): void };
  readonly apply: (
    yaml: string,
  ) => Promise<{ applied: readonly AppliedObject[]; rejected: readonly Rejected[] }>;
  /** Objects of a kind by its plural, short or singular name; undefined when there is no such kind. */
  readonly objects: (kind: string, namespace: string | undefined) => readonly unknown[] | undefined;
}

/** An edited event in JSON, its data in base64, is the largest that is sent here. */
const bodyBytesMax = 16 * 1024 * 1024;
const manifestBytesMax = 4 * 1024 * 1024;
const followBacklogMax = 10_000;

export function createConsole(parts: ConsoleParts): Hono {
  const app = new Hono();
  const status = new StatusReader(parts);
  app.onError((error, c) => {
    const refusal =
      error instanceof MeshError ? error : new MeshError("STORAGE_UNAVAILABLE", { found: messageOf(error) });
    if (!(error instanceof MeshError)) parts.log.warn({ stage: "console", error }, "a request failed");
    return c.json(refusal.toProblem(), refusal.status as ContentfulStatusCode);
  });
  app.notFound((c) => c.json(new MeshError("NOT_FOUND", { found: c.req.path }).toProblem(), 404));

  app.get("/healthz", (c) => c.text("ok\n"));
  app.get("/readyz", async (c) => {
    const reason = parts.notReady() ?? (await parts.natsTrouble());
    return reason === undefined ? c.text("ok\n") : c.text(`${reason}\n`, 503);
  });
  app.get("/weft/v1/endpoints", (c) => c.json({ events: parts.eventsUrl() }));
  app.get("/weft/v1/status", async (c) => c.json(await status.read()));

  app.use("/weft/v1/*", bounded(bodyBytesMax));
  app.use("/weft/v1/apply", bounded(manifestBytesMax));
  mountDeadLetters(app, parts);
  mountTriggers(app, parts.triggerDesk);
  mountWhy(app, parts);

  app.post("/weft/v1/apply", async (c) => c.json(await parts.apply(await c.req.text())));
  app.get("/weft/v1/objects/:kind", (c) => {
    const items = parts.objects(c.req.param("kind"), c.req.query("namespace"));
    if (items === undefined) {
      throw new MeshError("NOT_FOUND", {
        field: "kind",
        found: c.req.param("kind"),
        expected: "brokers, triggers or services",
      });
    }
    return c.json({ items });
  });
  app.get("/weft/v1/tail", (c) => {
    c.header("content-type", "application/x-ndjson");
    return stream(c, (out) => follow(parts, out));
  });
  return app;
}

/** Refuses longer bodies, also those that come without their length. */
function bounded(maxSize: number): MiddlewareHandler {
  return bodyLimit({
    maxSize,
    onError: () => {
      throw new MeshError("EVENT_TOO_LARGE", { field: "body", expected: `at most ${maxSize} bytes` });
    },
  });
}

/** A slow follower misses records rather than hold them in our memory. */
async function follow(
  parts: ConsoleParts,
  out: { write(text: string): Promise<unknown>; onAbort(listener: () => void): void; aborted: boolean },
): Promise<void> {
  const backlog: JournalRecord[] = [];
  let wake = () => {};
  const subscription = parts.follow((record) => {
    if (backlog.length < followBacklogMax) backlog.push(record);
    wake();
  });
  out.onAbort(() => wake());
  try {
    while (!out.aborted) {
      const lines = backlog.splice(0).map((record) => `${JSON.stringify(record)}\n`);
      if (lines.length > 0) await out.write(lines.join(""));
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    subscription.close();
  }
}
