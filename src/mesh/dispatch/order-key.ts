/** The key an ordered trigger keeps in order: `partitionkey`, else `subject`, else `source` (DESIGN §5). */
import type { Attributes } from "../event/event.ts";

export function orderKey({ partitionkey, subject, source }: Attributes): string {
  if (partitionkey !== undefined) return `k:${partitionkey}`;
  return subject === undefined ? `u:${source}` : `s:${subject}`;
}
