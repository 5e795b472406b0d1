/**
 * Every NATS name weft uses is made here and nowhere else (DESIGN §4). Tokens are escaped reversibly
 * (sheet nats-jetstream §4.1): letters, digits, `_` and `-` stay, every other byte is `=XX`, an empty token
 * is a lone `=`, a token over `tokenBytesMax` becomes `=h` and a hash.
 *
 * N1  two different names never share a subject, stream or consumer, save types whose tokens were hashed.
 * N2  the event is authoritative; a subject is only an index and is never decoded for attributes.
 */
import { createHash } from "node:crypto";

/** A broker's identity; a Kubernetes name never holds `_`, so `<ns>_<name>` is unambiguous. */
export interface BrokerKey {
  readonly namespace: string;
  readonly name: string;
}

const typeTokensMax = 12;
const tokenBytesMax = 100;
const plainToken = /^[A-Za-z0-9_-]+$/;

/** One subject token for any string. */
export function encodeToken(token: string): string {
  if (token === "") return "=";
  if (token.length <= tokenBytesMax && plainToken.test(token)) return token;
  let encoded = "";
  for (const byte of Buffer.from(token, "utf8")) {
    const char = String.fromCharCode(byte);
    encoded += plainToken.test(char) ? char : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded.length <= tokenBytesMax ? encoded : `=h${sha256(token)}`;
}

/** The subject tokens of an event type: split at `.`, what exceeds the cap is folded into the last token. */
export function typeTokens(type: string): string[] {
  const pieces = type.split(".");
  if (pieces.length > typeTokensMax) {
    pieces.push(pieces.splice(typeTokensMax - 1).join("."));
  }
  return pieces.map(encodeToken);
}

const typeSuffixes = new Map<string, string>();
const typeSuffixesMax = 10_000;

/** Memoised: a mesh sees few types and many events. Cleared when full, so hostile types cost no memory. */
function typeSuffix(type: string): string {
  let suffix = typeSuffixes.get(type);
  if (suffix === undefined) {
    suffix = typeTokens(type).join(".");
    if (typeSuffixes.size >= typeSuffixesMax) typeSuffixes.clear();
    typeSuffixes.set(type, suffix);
  }
  return suffix;
}

/** `weft.ev.<ns>.<broker>.`, what every event subject of a broker starts with. */
export function eventSubjectPrefix(broker: BrokerKey): string {
  return `weft.ev.${scope(broker)}.`;
}

/** Where an event of `type` is stored. */
export function eventSubject(prefix: string, type: string): string {
  return prefix + typeSuffix(type);
}

/** Every event of a broker. */
export function eventSubjects(broker: BrokerKey): string {
  return `${eventSubjectPrefix(broker)}>`;
}

/** The events whose type starts with these complete `.`-separated pieces and has at least one more. */
export function eventPrefixFilter(broker: BrokerKey, pieces: readonly string[]): string {
  const kept = pieces.slice(0, typeTokensMax - 2).map(encodeToken);
  return kept.length === 0 ? eventSubjects(broker) : `${eventSubjectPrefix(broker)}${kept.join(".")}.>`;
}

export function eventStream(broker: BrokerKey): string {
  return `weft-ev-${stem(broker)}`;
}

export function deadLetterStream(broker: BrokerKey): string {
  return `weft-dl-${stem(broker)}`;
}

export function deadLetterSubject(broker: BrokerKey, trigger: string): string {
  return `weft.dl.${scope(broker)}.${encodeToken(trigger)}`;
}

export function deadLetterSubjects(broker: BrokerKey): string {
  return `weft.dl.${scope(broker)}.>`;
}

/** Events on their way to exactly one trigger again: redriven dead letters and replays. */
export function redriveStream(broker: BrokerKey): string {
  return `weft-rd-${stem(broker)}`;
}

export function redriveSubject(broker: BrokerKey, triggerUid: string): string {
  return `weft.rd.${scope(broker)}.${encodeToken(triggerUid)}`;
}

export function redriveSubjects(broker: BrokerKey): string {
  return `weft.rd.${scope(broker)}.>`;
}

/** Events whose time has not come. */
export function delayedStream(broker: BrokerKey): string {
  return `weft-at-${stem(broker)}`;
}

export function delayedSubjects(broker: BrokerKey): string {
  return `weft.at.${scope(broker)}.>`;
}

/** Where one event waits: its place follows from its message id, so that a duplicate finds the place taken. */
export function waitingSubject(broker: BrokerKey, messageId: string): string {
  return `weft.at.${scope(broker)}.wait.${sha256(messageId)}`;
}

/** Where events arrive when their time has come; the mover takes them from there. */
export function dueSubject(broker: BrokerKey): string {
  return `weft.at.${scope(broker)}.due`;
}

/** The durable consumer of `dueSubject` that all movers of a broker share. */
export const moverConsumer = "mover";

export function journalStream(broker: BrokerKey): string {
  return `weft-log-${stem(broker)}`;
}

export function journalSubjects(broker: BrokerKey): string {
  return `weft.log.${scope(broker)}.>`;
}

/** All attempts at one delivery: `origin` tells the event stream (`e`) from the redrive stream (`r`). */
export function attemptSubject(
  broker: BrokerKey,
  { triggerUid, origin, sequence }: { triggerUid: string; origin: "e" | "r"; sequence: number },
): string {
  const position = origin === "e" ? `${sequence}` : `r${sequence}`;
  return `weft.log.${scope(broker)}.${encodeToken(triggerUid)}.${position}`;
}

/** Every attempt at events of the event stream and of the redrive stream for one trigger. */
export function triggerAttempts(broker: BrokerKey, triggerUid: string): string {
  return `weft.log.${scope(broker)}.${encodeToken(triggerUid)}.*`;
}

/** Where batches of outcomes go; `=` cannot start a trigger uid. */
export function outcomesSubject(broker: BrokerKey): string {
  return `weft.log.${scope(broker)}.=outcomes`;
}

/** The journal of every broker, for whoever follows along. */
export const allJournals = "weft.log.>";
export const allDeadLetters = "weft.dl.>";

export function consumerName(triggerUid: string): string {
  return `t-${encodeToken(triggerUid)}`;
}

export function isTriggerConsumer(name: string): boolean {
  return name.startsWith("t-");
}

/** Where a consumer's deliveries are asked for. */
export function pullSubject(stream: string, consumer: string): string {
  return `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
}

export const counterStream = "weft-counters";
export const counterSubjects = "weft.count.>";

export function counterSubject(uid: string, counter: string): string {
  return `weft.count.${encodeToken(uid)}.${encodeToken(counter)}`;
}

/** What became of requests that somebody waits for, by token. */
export const replyStream = "weft-replies";
export const replySubjects = "weft.rp.>";

/** How a request ended. */
export function replySubject(token: string): string {
  return `weft.rp.${encodeToken(token)}.end`;
}

/** Which event a request has come to. */
export function replyProgressSubject(token: string): string {
  return `weft.rp.${encodeToken(token)}.at`;
}

/** Where one process hears the answers to all its requests, or one request's answer. */
export function answerSubject(processId: string, requestId: string): string {
  return `_INBOX.${encodeToken(processId)}.${requestId === "*" ? "*" : encodeToken(requestId)}`;
}

/** Where NATS clients send requests: `weft.rq.<ns>.<broker>.<type tokens>`. */
export const requestSubjects = "weft.rq.>";

/** All ingress processes share the requests of NATS clients. */
export const requestQueue = "weft";

export function requestSubject(broker: BrokerKey, type: string): string {
  return `weft.rq.${scope(broker)}.${typeSuffix(type)}`;
}

/** The broker a request subject names; undefined when it names none. */
export function brokerOfRequest(subject: string): BrokerKey | undefined {
  const [, , namespace, name] = subject.split(".");
  if (namespace === undefined || name === undefined || !validToken(namespace) || !validToken(name)) {
    return undefined;
  }
  return { namespace: decodeToken(namespace), name: decodeToken(name) };
}

/** Secrets that all processes of a mesh share. */
export const keyBucket = "weft-keys";

export const resourceBucket = "weft-resources";

/** The routes, written by the active control plane, watched by every data plane. */
export const routeBucket = "weft-routes";

/** Set once a control plane has written every route there is. */
export const routesCompleteKey = "complete";

export function brokerRouteKey({ namespace, name }: BrokerKey): string {
  return `b.${encodeToken(namespace)}.${encodeToken(name)}`;
}

export function triggerRouteKey({ namespace, name }: BrokerKey): string {
  return `t.${encodeToken(namespace)}.${encodeToken(name)}`;
}

/** What kind of route a key of the route bucket holds; undefined for none. */
export function routeKindOf(key: string): "broker" | "trigger" | undefined {
  return key.startsWith("b.") ? "broker" : key.startsWith("t.") ? "trigger" : undefined;
}

/** The stream that holds a bucket. */
export function bucketStream(bucket: string): string {
  return `KV_${bucket}`;
}

/** Every process of a mesh answers here with what only it knows. */
export const peersSubject = "weft.peers";

/** Who does what only one process may do at a time; the keys are lease names. */
export const leaseBucket = "weft-leases";

/** The lease of the one process whose control plane is active. */
export const controlLease = "control";

/** The lease of an ordered trigger's one active dispatcher. */
export function triggerLease(triggerUid: string): string {
  return `trigger.${encodeToken(triggerUid)}`;
}

/** The broker a stream belongs to, from `<ns>_<name>`; undefined when it is none of ours. */
export function brokerOfStream(stream: string): BrokerKey | undefined {
  const match = /^weft-(?:ev|dl|rd|log|at)-([^_]+)_([^_]+)$/.exec(stream);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { namespace: decodeToken(match[1]), name: decodeToken(match[2]) };
}

/** A dead letter's public id: unique over all brokers, safe in a URL path. */
export function deadLetterId(broker: BrokerKey, sequence: number): string {
  return `${stem(broker)}_${sequence}`;
}

/** The inverse of deadLetterId; undefined for anything else. */
export function parseDeadLetterId(id: string): { broker: BrokerKey; sequence: number } | undefined {
  const match = /^([^_]{1,300})_([^_]{1,900})_(\d{1,15})$/.exec(id);
  if (match?.[1] === undefined || match[2] === undefined || !validToken(match[1]) || !validToken(match[2])) {
    return undefined;
  }
  return {
    broker: { namespace: decodeToken(match[1]), name: decodeToken(match[2]) },
    sequence: Number(match[3]),
  };
}

/** Message ids of what a delivery causes: the same delivery, made twice, is stored once. */
export function replyMessageId(triggerUid: string, origin: "e" | "r", sequence: number): string {
  return `r:${triggerUid}:${origin}${sequence}`;
}

export function deadLetterMessageId(triggerUid: string, origin: "e" | "r", sequence: number): string {
  return `d:${triggerUid}:${origin}${sequence}`;
}

/** `<source, id>` as the deduplication id of an event (sheet cloudevents §3.4). A source holds no space. */
export function eventMessageId(source: string, id: string): string {
  if (source.length + id.length <= messageIdBytesMax && printable.test(source) && printable.test(id)) {
    return `e:${source} ${id}`;
  }
  return `h:${createHash("sha256").update(`${source}\n${id}`).digest("base64url")}`;
}

/** A redrive asked for twice is made once; what was edited meanwhile is another one. */
export function redriveMessageId(deadLetter: string, edited: Uint8Array | undefined): string {
  if (edited === undefined) return `redrive:${deadLetter}`;
  return `redrive:${deadLetter}:${createHash("sha256").update(edited).digest("base64url")}`;
}

/** One event of a replay; a read that is repeated repeats none of it. */
export function replayMessageId(mark: string, sequence: number): string {
  return `${mark}:${sequence}`;
}

/** For a delayed event that is not deduplicated: moving it twice still stores it once. */
export function movedMessageId(sequence: number): string {
  return `at:${sequence}`;
}

const messageIdBytesMax = 120;
const printable = /^[\x21-\x7e]+$/;

function scope(broker: BrokerKey): string {
  return `${encodeToken(broker.namespace)}.${encodeToken(broker.name)}`;
}

function stem(broker: BrokerKey): string {
  return `${encodeToken(broker.namespace)}_${encodeToken(broker.name)}`;
}

function validToken(token: string): boolean {
  return /^(?:[A-Za-z0-9-]|=[0-9A-F]{2})+$/.test(token);
}

function decodeToken(token: string): string {
  return decodeURIComponent(token.replaceAll("=", "%"));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
