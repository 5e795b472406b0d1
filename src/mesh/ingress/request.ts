/**
 * Request/reply: an event enters like any other, and its sender waits for the reply. The same for HTTP and NATS
 * clients; each of the two edges writes the outcome in its own way.
 *
 *   nobody wants it ─────────► stored as unmatched, NO_RESPONDER
 *   stored ── reply ─────────► the reply event
 *          ── dead letter ───► REPLY_DEAD, its reason and id
 *          ── time is over ──► REPLY_TIMEOUT, who holds the event, where the reply can be fetched later
 *   stored before ───────────► the reply to the first one, whoever waits for that
 */
import { type ErrorDetail, MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { encodeAddress, isToken } from "../reply/address.ts";
import { type Answer, type Dead, type Place, placeOf } from "../reply/ending.ts";
import type { Requester, Unanswered, Wait } from "../reply/requester.ts";
import type { RawHeaders } from "../stream/publish.ts";
import { type AcceptParts, brokerNotFound, enter, noteUnmatched } from "./accept.ts";
import type { Holder, Holders } from "./holders.ts";

export interface RequestParts extends AcceptParts {
  readonly requester: Requester;
  readonly holders: Holders;
}

/** An event whose sender waits. */
export interface Request {
  /** `<namespace>/<broker>` */
  readonly path: string;
  readonly event: Event;
  readonly beside: RawHeaders;
  /** The type of event that counts as the reply; undefined: the first reply. */
  readonly replyType: string | undefined;
  /** Puts a mark of the request onto its event. */
  readonly mark?: (event: Event, token: string) => Event;
}

export interface Waiting {
  readonly waitMs: number;
  /** Aborts when the sender is gone. */
  readonly signal: AbortSignal;
}

export type RequestOutcome =
  | { readonly kind: "reply"; readonly event: Event }
  | {
      readonly kind: "none";
      readonly error: MeshError;
      /** Beside the fields every problem has. */
      readonly problem: Readonly<Record<string, unknown>>;
      /** Where the reply can be fetched later; absent when none is to be expected. */
      readonly location?: string;
    }
  /** Nobody is there to be told. */
  | { readonly kind: "left" };

/** Below it, the token. */
const repliesPath = "/weft/v1/replies/";

/** Rejects with a MeshError when the event was not stored, or when its reply cannot be waited for. */
export async function request(
  parts: RequestParts,
  { path, event: sent, beside, replyType, mark = (event) => event }: Request,
  waiting: Waiting,
): Promise<RequestOutcome> {
  const { table, store, requester } = parts;
  const broker = table.broker(path);
  if (broker === undefined) throw brokerNotFound(path);
  const entering = enter(broker, sent);
  const wait = requester.open();
  let event: Event;
  let ack: Awaited<ReturnType<typeof store.store>>;
  try {
    event = mark(entering, wait.token);
    if (!table.isWanted(path, event)) {
      await store.store(broker, event, { beside });
      noteUnmatched(parts, broker, event);
      throw noResponder(event);
    }
    const address = encodeAddress({ token: wait.token, replyType });
    ack = await store.store(broker, event, { beside: [...beside, ...address] });
  } catch (error) {
    wait.end("left");
    throw error;
  }
  if (!ack.duplicate) {
    wait.place = ack.delayed === true ? undefined : placeOf(broker, ack.sequence);
    return outcomeOf(parts, { wait, event, ended: await wait.answer(waiting) });
  }
  wait.end("left");
  const token = ack.delayed === true ? undefined : await requester.tokenOf(broker, ack.sequence);
  if (token === undefined) throw notWaitedFor(event);
  const place = placeOf(broker, ack.sequence);
  return follow(parts, { token, place, event }, waiting);
}

/** The token a request target such as `/weft/v1/replies/<token>` names; undefined when it is another path. */
export function replyTokenOf(requestTarget: string): string | undefined {
  if (!requestTarget.startsWith(repliesPath)) return undefined;
  const [token = ""] = requestTarget.slice(repliesPath.length).split("?");
  return token;
}

/** The outcome of an earlier request. Rejects with NOT_FOUND when nothing is known of it. */
export async function fetchReply(
  parts: RequestParts,
  token: string,
  waiting: Waiting,
): Promise<RequestOutcome> {
  const { requester } = parts;
  if (!isToken(token)) throw unknownToken(token);
  const answer = await requester.answerTo(token);
  if (answer !== undefined) return ending(answer, token);
  const place = await requester.progressOf(token);
  if (place === undefined) throw unknownToken(token);
  const event = await requester.eventAt(place);
  return follow(parts, { token, place, event }, waiting);
}

/** A wait that is over. */
interface Ended {
  readonly wait: Wait;
  readonly ended: Answer | Unanswered;
  /** What `wait.place` holds; undefined when it is no longer stored. */
  readonly event: Event | undefined;
}

async function follow(
  parts: RequestParts,
  { token, place, event }: { token: string; place: Place; event: Event | undefined },
  waiting: Waiting,
): Promise<RequestOutcome> {
  const wait = parts.requester.follow(token);
  wait.place = place;
  // What was answered before this wait began is stored.
  void wait.look();
  return outcomeOf(parts, { wait, event, ended: await wait.answer(waiting) });
}

function outcomeOf(parts: RequestParts, waited: Ended): Promise<RequestOutcome> | RequestOutcome {
  const { ended } = waited;
  if (typeof ended !== "string") return ending(ended, waited.wait.token);
  return ended === "left" ? { kind: "left" } : timedOut(parts, waited);
}

/** A dead letter that is redriven may still lead to a reply: the problem says where that will be. */
function ending(answer: Answer, token: string): RequestOutcome {
  if (answer.kind === "reply") return answer;
  const { kind: _dead, ...dead } = answer;
  const problem = { ...dead, reply: repliesPath + token };
  return { kind: "none", error: new MeshError("REPLY_DEAD", deadDetail(answer)), problem };
}

function deadDetail({ trigger, reason, lastAttempt, deadLetter }: Dead): ErrorDetail {
  const { error, message } = lastAttempt;
  return {
    field: `trigger ${trigger}`,
    found: `${reason} (${error}${message === "" ? "" : `: ${message}`})`,
    fix:
      deadLetter === null
        ? "Its dead-letter sink has it"
        : `See \`weft dead show ${deadLetter}\`, and redrive it once the cause is gone`,
  };
}

async function timedOut(parts: RequestParts, waited: Ended): Promise<RequestOutcome> {
  const location = repliesPath + waited.wait.token;
  const holders = await describe(parts, waited);
  const error = new MeshError("REPLY_TIMEOUT", {
    ...(holders === undefined || holders.length === 0
      ? {}
      : { found: `the event with ${holders.map(tellHolder).join(", ")}` }),
    fix: `Fetch the reply from ${location}`,
  });
  const problem = { reply: location, ...(holders === undefined ? {} : { triggers: holders }) };
  return { kind: "none", error, problem, location };
}

/** undefined when it cannot be said now: the answer matters more than what explains it. */
async function describe(
  { requester, holders }: RequestParts,
  { wait: { token, place }, event }: Ended,
): Promise<readonly Holder[] | undefined> {
  const now = (await requester.progressOf(token).catch(() => undefined)) ?? place;
  if (now === undefined) return undefined;
  const isFirst = now.sequence === place?.sequence;
  const held = isFirst ? event : await requester.eventAt(now).catch(() => undefined);
  return held === undefined ? undefined : holders.of(now, held);
}

function tellHolder({ trigger, lastAttempt }: Holder): string {
  if (lastAttempt === null) return `${trigger} (no failed attempt)`;
  return `${trigger} (attempt ${lastAttempt.attempt}: ${lastAttempt.error})`;
}

function noResponder({ attributes: { id, type } }: Event): MeshError {
  return new MeshError("NO_RESPONDER", {
    field: "type",
    expected: "a trigger whose filter matches",
    found: `none for ${type} (${id})`,
    fix: "The event is kept as unmatched; make a trigger for it and send it again under another id",
  });
}

function notWaitedFor({ attributes: { id } }: Event): MeshError {
  return new MeshError("REQUEST_CONFLICT", {
    field: "id",
    expected: "an event that is new, or was sent with Prefer: wait before",
    found: `${id}, stored earlier by a sender who did not wait`,
    fix: "Send it under another id to wait for its reply",
  });
}

function unknownToken(token: string): MeshError {
  return new MeshError("NOT_FOUND", {
    field: "reply",
    found: token.slice(0, 60),
    fix: "Replies are kept for a day, under the Location that the timeout named",
  });
}
