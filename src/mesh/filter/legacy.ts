/**
 * The legacy `spec.filter.attributes` in terms of the dialects (sheet knative-eventing §4.3): all keys must hold,
 * and an empty value means "present, whatever it says, but not empty".
 */
import type { AttributeMap } from "./attributes.ts";
import type { FilterSpec } from "./filter.ts";

/** No attributes pass every event. */
export function legacyFilters(attributes: AttributeMap): readonly FilterSpec[] {
  return Object.entries(attributes).map(([name, value]) =>
    value === "" ? { cesql: `LENGTH(${name}) > 0` } : { exact: { [name]: value } },
  );
}

/** Which of a Trigger's two filter fields decides (sheet §4.2): a non-empty `filters` alone, else the legacy one. */
export function effectiveFilters(
  filters: readonly FilterSpec[] | undefined,
  legacy: AttributeMap | undefined,
): readonly FilterSpec[] {
  return filters !== undefined && filters.length > 0 ? filters : legacyFilters(legacy ?? {});
}
