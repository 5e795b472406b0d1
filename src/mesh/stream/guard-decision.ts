/**
 * Decides how a broker's stream keeps within its size and age without losing what a trigger still owes an outcome:
 * which old events go, and whether new ones may enter (DESIGN §4). Pure; guard.ts looks and acts.
 *
 * G1  no event goes that a trigger may still owe an outcome, however old it is and however full the stream.
 * G2  of the rest, what is older than `ageMaxMs` goes, and, when the size nears the cap, the oldest.
 * G3  without anything owed nothing is refused: there is always room to be made.
 * G4  a refusal for size ends well below the level that began it, so that it does not flicker.
 */

/** The stream as it was looked at. */
export interface StreamLevel {
  readonly bytes: number;
  readonly events: number;
  readonly firstSequence: number;
  /** Up to here every consumer's word about what it owes can be trusted. */
  readonly knownSequence: number;
  readonly bytesMax: number;
  readonly ageMaxMs: number;
  /** The first event that is not too old; undefined when none is. */
  readonly youngSequence: number | undefined;
}

/** The oldest event that a trigger owes an outcome. */
export interface Hold {
  readonly triggerUid: string;
  readonly sequence: number;
  readonly ageMs: number;
  /** Events it owes an outcome. */
  readonly owed: number;
}

/** Why nothing may enter; `hold` is the trigger in the way. */
export interface Refusal {
  readonly because: "size" | "age";
  readonly hold: Hold;
}

/** Whether the same is in the way for the same reason, be it more or less of it than before. */
export function isSameRefusal(one: Refusal | undefined, other: Refusal | undefined): boolean {
  return one?.because === other?.because && one?.hold.triggerUid === other?.hold.triggerUid;
}

export interface GuardDecision {
  /** Everything before this sequence goes; undefined: nothing. */
  readonly purgeBefore: number | undefined;
  readonly refusal: Refusal | undefined;
}

/** Of the cap. */
const purgeFrom = 0.8;
const purgeTo = 0.7;
const refuseFrom = 0.9;
const acceptBelow = 0.85;
/** Of the age: when the oldest event that is owed an outcome gets this old, something is wrong. */
const refuseAge = 0.9;

/** Whether the stream is so calm that nobody's holds need to be looked at. */
export function isCalm({
  bytes,
  bytesMax,
  oldestMs,
  ageMaxMs,
}: {
  readonly bytes: number;
  readonly bytesMax: number;
  /** Age of the oldest event. */
  readonly oldestMs: number;
  readonly ageMaxMs: number;
}): boolean {
  return bytes < purgeFrom * bytesMax && oldestMs < refuseAge * ageMaxMs;
}

export function decideGuard(
  level: StreamLevel,
  holds: readonly Hold[],
  before: Refusal | undefined,
): GuardDecision {
  const free = Math.min(level.knownSequence + 1, ...holds.map(({ sequence }) => sequence));
  const wanted = Math.max(sizeSequence(level), level.youngSequence ?? level.firstSequence);
  const purgeBefore = Math.min(wanted, free);
  const purges = purgeBefore > level.firstSequence;
  const bytesAfter = level.bytes - (purges ? bytesBefore(purgeBefore, level) : 0);
  return {
    purgeBefore: purges ? purgeBefore : undefined,
    refusal: refusalForAge(level, holds) ?? refusalForSize({ ...level, bytes: bytesAfter }, holds, before),
  };
}

/** The first event that may stay when the size is to go down to `purgeTo`. */
function sizeSequence({ bytes, bytesMax, events, firstSequence }: StreamLevel): number {
  if (bytes < purgeFrom * bytesMax || events === 0) return firstSequence;
  return firstSequence + Math.ceil((bytes - purgeTo * bytesMax) / (bytes / events));
}

/** An estimate: events are taken to be of equal size. The next look knows better. */
function bytesBefore(sequence: number, { bytes, events, firstSequence }: StreamLevel): number {
  return events === 0 ? 0 : Math.min(bytes, (sequence - firstSequence) * (bytes / events));
}

function refusalForAge({ ageMaxMs }: StreamLevel, holds: readonly Hold[]): Refusal | undefined {
  const hold = oldestOf(holds);
  return hold !== undefined && hold.ageMs >= refuseAge * ageMaxMs ? { because: "age", hold } : undefined;
}

function refusalForSize(
  { bytes, bytesMax }: StreamLevel,
  holds: readonly Hold[],
  before: Refusal | undefined,
): Refusal | undefined {
  const hold = oldestOf(holds);
  const limit = before?.because === "size" ? acceptBelow : refuseFrom;
  return hold !== undefined && bytes >= limit * bytesMax ? { because: "size", hold } : undefined;
}

function oldestOf(holds: readonly Hold[]): Hold | undefined {
  return holds.toSorted((a, b) => a.sequence - b.sequence)[0];
}

/** A broker's cap when none is given: half of what the storage can hold, shared by all brokers. */
export function defaultBytesMax({
  storageBytes,
  brokers,
}: {
  storageBytes: number;
  brokers: number;
}): number {
  return Math.max(bytesMaxMin, Math.floor(storageBytes / 2 / Math.max(1, brokers)));
}

const bytesMaxMin = 64 * 1024 * 1024;
