/**
 * Which triggers want an event, without asking all of them: entries are found by the event's type (one look-up
 * for exact types, one per dot for prefixes), and only those are evaluated.
 *
 * R1  the answer is that of evaluating every entry's filters; ids come in the order they were given.
 * R2  immutable: build a new router when the triggers change.
 */
import type { Attributes } from "../event/event.ts";
import { compileFilters, type FilterSpec, type Match } from "./filter.ts";
import { prefixText, prefixTokensMax, pushdown } from "./pushdown.ts";

export interface RouterEntry {
  readonly id: string;
  readonly filters: readonly FilterSpec[];
}

export interface Router {
  /** The ids of the entries that want the event. */
  matching(attributes: Attributes): readonly string[];
  /** Whether there is at least one; stops at the first. */
  matchesAny(attributes: Attributes): boolean;
}

interface Candidate {
  readonly order: number;
  readonly id: string;
  readonly match: Match;
}

/** Compiles the entries. */
export function createRouter(entries: readonly RouterEntry[]): Router {
  const index: Index = { anyType: [], exact: new Map(), prefix: new Map() };
  for (const [order, entry] of entries.entries()) addEntry(index, order, entry);
  return {
    matching(attributes) {
      const found: Candidate[] = [];
      for (const group of groupsOf(index, attributes.type)) {
        for (const candidate of group) if (candidate.match(attributes)) found.push(candidate);
      }
      return found.sort((a, b) => a.order - b.order).map(({ id }) => id);
    },
    matchesAny(attributes) {
      for (const group of groupsOf(index, attributes.type)) {
        for (const candidate of group) if (candidate.match(attributes)) return true;
      }
      return false;
    },
  };
}

interface Index {
  readonly anyType: Candidate[];
  readonly exact: Map<string, Candidate[]>;
  /** By the text that types under the prefix start with, its dot included. */
  readonly prefix: Map<string, Candidate[]>;
}

function addEntry(index: Index, order: number, { id, filters }: RouterEntry): void {
  // The look-up compares the types themselves, so what it decides is decided.
  const { constraint, residual } = pushdown(filters, { isFaithful: () => true });
  const candidate = { order, id, match: compileFilters(residual) };
  switch (constraint.kind) {
    case "any":
      index.anyType.push(candidate);
      return;
    case "exact":
      addTo(index.exact, constraint.type, candidate);
      return;
    case "prefix":
      addTo(index.prefix, prefixText(constraint.tokens), candidate);
      return;
  }
}

function addTo(groups: Map<string, Candidate[]>, key: string, candidate: Candidate): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [candidate]);
  else group.push(candidate);
}

function groupsOf({ anyType, exact, prefix }: Index, type: string): readonly (readonly Candidate[])[] {
  const groups: (readonly Candidate[])[] = [];
  const exactGroup = exact.get(type);
  if (exactGroup !== undefined) groups.push(exactGroup);
  if (prefix.size > 0) addPrefixGroups(groups, prefix, type);
  if (anyType.length > 0) groups.push(anyType);
  return groups;
}

function addPrefixGroups(
  groups: (readonly Candidate[])[],
  prefix: ReadonlyMap<string, readonly Candidate[]>,
  type: string,
): void {
  let dot = type.indexOf(".");
  for (let tokens = 1; dot !== -1 && tokens <= prefixTokensMax; tokens++) {
    const group = prefix.get(type.slice(0, dot + 1));
    if (group !== undefined) groups.push(group);
    dot = type.indexOf(".", dot + 1);
  }
}
