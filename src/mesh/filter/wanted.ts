/** Whether a trigger wants an event: its filters over the attributes, and its data filter when it has one. */
import type { Event } from "../event/event.ts";
import { compileDataFilter } from "./data-filter.ts";
import { compileFilters, type FilterSpec } from "./filter.ts";

export interface WantedSpec {
  readonly filters: readonly FilterSpec[];
  readonly dataFilter: string | undefined;
}

/** Compiled once. Attributes are asked first: data is only parsed for events they leave. */
export function compileWanted({ filters, dataFilter }: WantedSpec): (event: Event) => boolean {
  const matchAttributes = compileFilters(filters);
  if (dataFilter === undefined) return ({ attributes }) => matchAttributes(attributes);
  const matchData = compileDataMatch(dataFilter);
  return (event) => matchAttributes(event.attributes) && matchData(event);
}

/** Admission refuses what does not compile; if it comes here all the same, it matches nothing. */
export function compileDataMatch(dataFilter: string): (event: Event) => boolean {
  const compiled = compileDataFilter(dataFilter);
  return compiled.ok ? compiled.match : () => false;
}
