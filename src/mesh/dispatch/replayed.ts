/** What is delivered again says so (`weftreplay`), and carries no stale account of an earlier failure. */
import type { Attributes, Event } from "../event/event.ts";

const stale = ["knativeerrordest", "knativeerrorcode", "knativeerrordata"];

/** The event for another delivery; `mark` names the dead letter or the replay it comes from. */
export function markReplayed(event: Event, mark: string): Event {
  const attributes: Record<string, string> = Object.assign(Object.create(null), event.attributes);
  for (const name of stale) delete attributes[name];
  attributes.weftreplay = mark;
  return { attributes: attributes as unknown as Attributes, data: event.data };
}
