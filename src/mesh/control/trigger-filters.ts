/** Which filters of a Trigger are in force (sheet knative-eventing §4.2), in the one form the data plane knows. */
import { filtersOf } from "../resources/filters.ts";
import type { Trigger } from "../resources/trigger.ts";
import type { TriggerRoute } from "../routes/route.ts";

/** `spec.filters` when it has elements, else the legacy `spec.filter.attributes`; empty passes every event. */
export function effectiveFilters({
  filter,
  filters,
}: Pick<Trigger["spec"], "filter" | "filters">): TriggerRoute["filters"] {
  if (filters !== undefined && filters.length > 0) return filtersOf(filters);
  const entries = Object.entries(filter?.attributes ?? {});
  const exact = entries.filter(([, value]) => value !== "");
  // An empty legacy value means "present and not empty", which no other dialect can say.
  const present = entries.filter(([, value]) => value === "");
  return [
    ...(exact.length === 0 ? [] : [{ exact: Object.fromEntries(exact) }]),
    ...present.map(([name]) => ({ cesql: `EXISTS ${name} AND ${name} <> ''` })),
  ];
}
