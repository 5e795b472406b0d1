/**
 * One clock for all processes of a run: the machine's monotonic one. Wall clocks of two processes start apart and
 * are adjusted while they run, by more than the microseconds that are measured here.
 */

/** What `performance.now()` lacks: it counts from the start of the process. */
const offsetUs = Number(process.hrtime.bigint() / 1000n) - performance.now() * 1000;

/** Microseconds since some moment that is the same in every process of this machine. */
export function nowUs(): number {
  return Math.round(offsetUs + performance.now() * 1000);
}
