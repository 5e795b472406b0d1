/**
 * WHETHER a trigger wants an event. A filter is plain data (FilterSpec, Knative's field names) that is
 * compiled once into a closure; `match` never throws, and what cannot be evaluated does not match.
 */
import type { Attributes } from "../event/event.ts";

export type AttributeMap = Readonly<Record<string, string>>;

/** One element of a Trigger's `spec.filters`; exactly one dialect each (sheet knative-eventing §4.3). */
export type FilterSpec =
  | { readonly exact: AttributeMap }
  | { readonly prefix: AttributeMap }
  | { readonly suffix: AttributeMap }
  | { readonly all: readonly FilterSpec[] }
  | { readonly any: readonly FilterSpec[] }
  | { readonly not: FilterSpec }
  | { readonly cesql: string };

/** A compiled filter. Pure and fast; a failed evaluation is `false`. */
export type Match = (attributes: Attributes) => boolean;
