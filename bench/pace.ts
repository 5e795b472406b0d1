/**
 * Waits until requests are due. Timers tick once a millisecond and come late by up to another; below
 * `preciseRateMax` the last of it is spent looking at the clock, so that a due time means what it says. At higher
 * rates that would take a whole core, and several requests are due at each tick anyway.
 */
import { nowUs } from "./clock.ts";

const preciseRateMax = 1000;
const tickMs = 1;
/** Timers mostly come no later than this; more would make 500 requests per second take a whole core, too. */
const timerSlackUs = 900;

/** Lets at least one turn of the event loop pass, also when the request is overdue. */
export async function untilDue(dueUs: number, requestsPerSecond: number): Promise<void> {
  const timerMs =
    requestsPerSecond >= preciseRateMax ? tickMs : Math.floor((dueUs - nowUs() - timerSlackUs) / 1000);
  if (timerMs >= tickMs) await new Promise((resolve) => setTimeout(resolve, timerMs));
  if (requestsPerSecond >= preciseRateMax) return;
  do await new Promise((resolve) => setImmediate(resolve));
  while (nowUs() < dueUs);
}
