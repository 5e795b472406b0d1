/** What is delivered again says so (`weftreplay`), and carries no stale account of an earlier failure. */
import { amend } from "../event/attributes.ts";
import type { Event } from "../event/event.ts";

const stale = ["knativeerrordest", "knativeerrorcode", "knativeerrordata"];

/** The event for another delivery; `mark` names the dead letter or the replay it comes from. */
export function markReplayed(event: Event, mark: string): Event {
  const changes: Record<string, string | undefined> = { weftreplay: mark };
  for (const name of stale) changes[name] = undefined;
  return amend(event, changes);
}
