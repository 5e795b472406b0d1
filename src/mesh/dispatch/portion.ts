/**
 * Which part of the dispatch one of several worker processes does, so that together they do what one would.
 *
 * N1  the shares of a trigger's window add up to the window; who has none of it does not serve the trigger.
 * N2  what goes to a function of this mesh, as subscriber or as dead-letter sink, is served by the first process
 *     alone: it runs the functions.
 * N3  an ordered trigger is one process's at a time (ordered-line.ts): whichever it is has the whole window.
 */
import type { TriggerRoute } from "../routes/route.ts";

export interface Portion {
  /** From 0, below `of`; 0 is the first process. */
  readonly index: number;
  /** How many processes there are. */
  readonly of: number;
}

/** Of a process that is alone. */
export const wholeDispatch: Portion = { index: 0, of: 1 };

/** The route as this process serves it; undefined when others do. The same route again when it is unchanged. */
export function partOf(route: TriggerRoute, portion: Portion): TriggerRoute | undefined {
  if (portion.of === 1) return route;
  if (route.subscriber?.kind === "function" || route.deadLetterSink?.kind === "function") {
    return portion.index === 0 ? route : undefined;
  }
  if (route.order !== undefined) return route;
  const concurrency = windowShare(route.concurrency, portion, turnOf(route.uid));
  return concurrency === 0 ? undefined : { ...route, concurrency };
}

/** N1. `turn` says where dealing begins, lest the first processes get what is left over of every trigger. */
export function windowShare(window: number, { index, of }: Portion, turn: number): number {
  const place = (index + turn) % of;
  return Math.floor(window / of) + (place < window % of ? 1 : 0);
}

const turnsMax = 65_536;

/** The same in every process. */
function turnOf(uid: string): number {
  let turn = 0;
  for (let i = 0; i < uid.length; i++) turn = (turn * 31 + uid.charCodeAt(i)) % turnsMax;
  return turn;
}
