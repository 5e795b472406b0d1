/** WHOSE turn a connection is: round robin, so that long-lived connections are spread evenly. Pure. */

/** The first after `last` who can take it, `last` itself at the end of the round; undefined when nobody can. */
export function nextTurn(last: number, canTake: readonly boolean[]): number | undefined {
  for (let step = 1; step <= canTake.length; step++) {
    const at = (last + step) % canTake.length;
    if (canTake[at]) return at;
  }
  return undefined;
}
