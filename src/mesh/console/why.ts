/**
 * Why an event went where it went (promise 2): which triggers want it, clause by clause, every attempt, and where
 * it is now.
 *
 *   GET /weft/v1/why/<event id>?namespace=&broker=&source=
 */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { type Clock, rfc3339 } from "../clock.ts";
import { type DeadLetters, showAttempt } from "../dispatch/dead-letter.ts";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { toJsonObject } from "../event/json.ts";
import { decisiveClauses, explain } from "../filter/explain.ts";
import { compileDataMatch, compileWanted } from "../filter/wanted.ts";
import { readOutcomes } from "../journal/outcomes.ts";
import { JournalReader } from "../journal/reader.ts";
import type { OutcomeRecord } from "../journal/record.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import { consumerInfo } from "../stream/consumer.ts";
import { dueAtOf } from "../stream/delayed.ts";
import { findEvent } from "../stream/find-event.ts";
import { delayedStream, delayedSubjects, eventStream, eventSubjects } from "../stream/subjects.ts";
import { type Progress, whereIs } from "./whereabouts.ts";

export interface WhyParts {
  readonly clock: Clock;
  readonly brokers: () => readonly BrokerRoute[];
  readonly triggersOf: (broker: BrokerRoute) => readonly TriggerRoute[];
  readonly jsm: () => JetStreamManager | undefined;
  readonly deadLetters: () => DeadLetters | undefined;
}

const deadLettersMax = 100;

interface Tools {
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly deadLetters: DeadLetters;
}

export function mountWhy(app: Hono, parts: WhyParts): void {
  app.get("/weft/v1/why/:id", async (c) => {
    const { namespace, broker, source } = c.req.query();
    const tools = toolsOf(parts);
    const items: object[] = [];
    for (const route of parts.brokers()) {
      if (namespace !== undefined && route.namespace !== namespace) continue;
      if (broker !== undefined && route.name !== broker) continue;
      const found = await describe(tools, route, {
        id: c.req.param("id"),
        source,
        triggers: parts.triggersOf(route),
      });
      if (found !== undefined) items.push(found);
    }
    if (items.length > 0) return c.json({ items });
    throw new MeshError("NOT_FOUND", {
      field: "event",
      found: c.req.param("id").slice(0, 200),
      fix: "It was never accepted, or has been trimmed; `weft tail` shows events as they come",
    });
  });
}

function toolsOf({ jsm, deadLetters, clock }: WhyParts): Tools {
  const manager = jsm();
  const store = deadLetters();
  if (manager !== undefined && store !== undefined) return { jsm: manager, deadLetters: store, clock };
  throw new MeshError("STORAGE_UNAVAILABLE", { found: "the mesh is still starting" });
}

interface Question {
  readonly id: string;
  readonly source: string | undefined;
  readonly triggers: readonly TriggerRoute[];
}

async function describe(tools: Tools, broker: BrokerRoute, question: Question): Promise<object | undefined> {
  const { id, source, triggers } = question;
  const place = { namespace: broker.namespace, broker: broker.name };
  const entered = await findEvent(tools, {
    stream: eventStream(broker),
    subject: eventSubjects(broker),
    id,
    source,
  });
  if (entered === undefined) {
    const delayed = await findEvent(tools, {
      stream: delayedStream(broker),
      subject: delayedSubjects(broker),
      id,
      source,
    });
    if (delayed === undefined) return undefined;
    const { event, message } = delayed;
    return {
      ...place,
      delayedUntil: dueAtOf(message.header) ?? "now",
      event: toJsonObject(event),
      triggers: [],
    };
  }
  const { event, message } = entered;
  const storedMs = Date.parse(message.timestamp);
  const outcomes = await readOutcomes(tools, broker, {
    sinceMs: storedMs,
    matches: (record) => record.id === event.attributes.id && record.source === event.attributes.source,
  });
  return {
    ...place,
    sequence: message.seq,
    storedAt: rfc3339(storedMs),
    event: toJsonObject(event),
    triggers: await Promise.all(
      triggers.map((route) => describeTrigger(tools, broker, { route, event, message, outcomes })),
    ),
  };
}

interface Case {
  readonly route: TriggerRoute;
  readonly event: Event;
  readonly message: StoredMsg;
  readonly outcomes: readonly OutcomeRecord[];
}

async function describeTrigger(
  tools: Tools,
  broker: BrokerRoute,
  { route, event, message, outcomes }: Case,
): Promise<object> {
  const { jsm, clock, deadLetters } = tools;
  const { uid, namespace, name, filters, dataFilter, paused } = route;
  const explanation = explain(filters, event.attributes);
  const wanted = compileWanted(route)(event);
  const own = outcomes.filter((record) => record.triggerUid === uid);
  const [attempts, info, letters] = await Promise.all([
    new JournalReader({ jsm, clock }).attempts(broker, {
      triggerUid: uid,
      origin: "e",
      sequence: message.seq,
    }),
    consumerInfo(jsm, eventStream(broker), uid),
    deadLetters.list(broker, {
      trigger: name,
      from: 1,
      limit: deadLettersMax,
      wants: (letter) => letter.event.attributes.id === event.attributes.id && letter.triggerUid === uid,
    }),
  ]);
  const progress: Progress | undefined = info && {
    deliveredSequence: info.delivered.stream_seq,
    settledSequence: info.ack_floor.stream_seq,
    createdMs: Date.parse(info.created),
  };
  return {
    namespace,
    name,
    wanted,
    because: decisiveClauses(explanation),
    explanation,
    ...(dataFilter === undefined
      ? {}
      : { dataFilter: { expression: dataFilter, result: compileDataMatch(dataFilter)(event) } }),
    now: whereIs({
      wanted,
      paused,
      sequence: message.seq,
      storedMs: Date.parse(message.timestamp),
      progress,
      outcome: own.at(-1)?.outcome,
      failedAttempts: attempts.length,
      isDeadLetter: letters.items.length > 0,
    }),
    attempts: attempts.map((record) => ({ phase: record.phase, ...showAttempt(record) })),
    outcomes: own.map(({ outcome, at, origin, status, reply, note, reason, attempts: made, ms }) => ({
      ...{ outcome, at, again: origin === "r", attempts: made, ms, status, reply, note, reason },
    })),
    deadLetters: letters.items.map((letter) => letter.id),
  };
}
