/**
 * One clock for all processes of a run: the machine's monotonic one. Wall clocks of two processes start apart and
 * are adjusted while they run, by more than the microseconds that are measured here.
 */

/** What `performance.now()` lacks: it counts from the start of the process. */
const offsetUs = measureOffsetUs();

/** Microseconds since some moment that is the same in every process of this machine. */
export function nowUs(): number {
  return Math.round(offsetUs + performance.now() * 1000);
}

/** Time that passes between the two looks makes the difference smaller, never greater: the greatest is right. */
function measureOffsetUs(): number {
  const looks = 200;
  let greatest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < looks; i++) {
    const us = Number(process.hrtime.bigint()) / 1000;
    greatest = Math.max(greatest, us - performance.now() * 1000);
  }
  return greatest;
}
