/**
 * What deciding one event costs, in ns per event and as a ratio to one `exact` clause, measured in the same run.
 * Half of the events match. Target: a compiled CESQL conjunction within 10 times `exact`.
 */
import { systemClock } from "../src/mesh/clock.ts";
import type { Attributes } from "../src/mesh/event/event.ts";
import { compileFilters, type FilterSpec } from "../src/mesh/filter/filter.ts";
import { createRouter } from "../src/mesh/filter/router.ts";
import { type Figure, figuresOf, reportFigures } from "./figure.ts";

export interface FilterCost {
  readonly name: string;
  readonly nsPerEvent: number;
  /** To `exact`. */
  readonly ratio: number;
}

const cases: Readonly<Record<string, readonly FilterSpec[]>> = {
  exact: [{ exact: { type: "com.acme.order.paid" } }],
  prefix: [{ prefix: { type: "com.acme.order.p" } }],
  suffix: [{ suffix: { type: ".paid" } }],
  nested: [
    {
      any: [
        { all: [{ prefix: { type: "com." } }, { exact: { region: "eu" } }] },
        { not: { exact: { region: "eu" } } },
      ],
    },
  ],
  "cesql =": [{ cesql: "type = 'com.acme.order.paid'" }],
  "cesql = AND LIKE": [{ cesql: "type = 'com.acme.order.paid' AND source LIKE '/a/%'" }],
  "cesql LIKE %_%": [{ cesql: "source LIKE '%s_op%' AND EXISTS region" }],
  "cesql IN": [{ cesql: "type IN ('com.acme.order.paid', 'com.acme.order.sent', 'x')" }],
  "cesql function": [{ cesql: "LENGTH(subject) > 3 AND LOWER(region) = 'eu'" }],
  "cesql missing": [{ cesql: "nosuch = 'x'" }],
};

const events: readonly Attributes[] = Array.from({ length: 64 }, (_, i) =>
  Object.assign(Object.create(null), {
    specversion: "1.0",
    id: String(i),
    source: `/a/shop/${i % 7}`,
    type: i % 2 === 0 ? "com.acme.order.paid" : "com.acme.order.sent",
    subject: `order-${i}`,
    region: i % 3 === 0 ? "us" : "eu",
  }),
);

/** The best of several rounds, interleaved so that a slow moment hits all cases alike. */
export function measureFilters({ rounds = 9, eventsPerRound = 200_000 } = {}): readonly FilterCost[] {
  const deciders = Object.entries(cases).map(([name, filters]) => ({
    name,
    decide: compileFilters(filters),
  }));
  const router = createRouter(
    Array.from({ length: 10_000 }, (_, i) => ({
      id: String(i),
      filters: [{ exact: { type: `com.acme.t${i}` } }],
    })),
  );
  deciders.push({ name: "router, 10000 unwanted triggers", decide: router.matchesAny });
  const best = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    for (const { name, decide } of deciders) {
      const ns = timePerEvent(decide, eventsPerRound);
      best.set(name, Math.min(ns, best.get(name) ?? Number.POSITIVE_INFINITY));
    }
  }
  const exact = best.get("exact") ?? 1;
  return [...best].map(([name, nsPerEvent]) => ({ name, nsPerEvent, ratio: nsPerEvent / exact }));
}

function timePerEvent(decide: (attributes: Attributes) => boolean, count: number): number {
  let matched = 0;
  const start = systemClock.monotonic();
  for (let done = 0; done < count; done += events.length) {
    for (const event of events) if (decide(event)) matched++;
  }
  const ms = systemClock.monotonic() - start;
  if (matched > count + events.length) throw new Error("more matches than events");
  return (ms * 1e6) / count;
}

if (import.meta.main) {
  const figures: Figure[] = [];
  process.stdout.write("\ncase                                    ns   × exact\n");
  for (const { name, nsPerEvent, ratio } of measureFilters()) {
    figures.push(
      ...figuresOf({ part: "filter", name }, [
        ["ns", "less", nsPerEvent],
        ["× exact", "less", ratio],
      ]),
    );
    process.stdout.write(
      `${name.padEnd(34)}${nsPerEvent.toFixed(1).padStart(8)}${ratio.toFixed(1).padStart(9)}×\n`,
    );
  }
  await reportFigures(figures);
  process.exit(0);
}
