/** What JetStream says of a delivery in the subject it is acknowledged on (ADR-15; sheet nats-jetstream §3.4). Pure. */

export interface AckSubject {
  /** 1 for the first delivery; attempts that were never made count here too, so never use it as an attempt number. */
  readonly deliveryCount: number;
  /** Position in the stream. */
  readonly sequence: number;
  /** When it was stored, epoch milliseconds. */
  readonly storedMs: number;
  /** Messages the consumer has not delivered yet. */
  readonly pending: number;
}

const prefix = "$JS.ACK.";
/** In the short form; the long one has two more, or three. */
const dotsShort = 8;
const dotsLongMin = 10;
const dotsMax = 11;
const nanosPerMs = 1e6;

/** Where the dots are, and the end; written anew by every call, for there are many. */
const dots = new Int32Array(dotsMax + 1);

/**
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>`, or with domain and account
 * before the stream and maybe a token at the end; undefined for any other subject.
 */
export function parseAckSubject(subject: string): AckSubject | undefined {
  if (!subject.startsWith(prefix)) return undefined;
  let count = 0;
  for (let at = subject.indexOf("."); at !== -1 && count < dotsMax; at = subject.indexOf(".", at + 1)) {
    dots[count++] = at;
  }
  if (count !== dotsShort && count < dotsLongMin) return undefined;
  dots[count] = subject.length;
  const first = count === dotsShort ? 3 : 5;
  const deliveryCount = numberAfter(subject, first);
  const sequence = numberAfter(subject, first + 1);
  const storedNs = numberAfter(subject, first + 3);
  const pending = numberAfter(subject, first + 4);
  if (!Number.isSafeInteger(deliveryCount) || !Number.isSafeInteger(sequence)) return undefined;
  return { deliveryCount, sequence, storedMs: Math.floor(storedNs / nanosPerMs), pending };
}

/** Of the token behind a dot. */
function numberAfter(subject: string, dot: number): number {
  return Number(subject.slice((dots[dot] ?? 0) + 1, dots[dot + 1]));
}
