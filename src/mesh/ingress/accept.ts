/**
 * HOW events enter: one POST becomes stored events, or a refusal. The checks and their order follow the
 * reference broker (sheet knative-eventing §6.2); where it has none (sizes) HTTP's own statuses are used.
 */
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { takeHop } from "../event/hops.ts";
import { decodeHttp } from "../event/http.ts";
import type { EventLimits } from "../event/limits.ts";
import type { JournalWriter } from "../journal/writer.ts";
import type { BrokerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import type { EventStore } from "../stream/event-store.ts";
import type { RawHeaders } from "../stream/publish.ts";

export interface AcceptParts {
  readonly table: RouteTable;
  readonly store: EventStore;
  readonly journal: JournalWriter;
  readonly now: () => string;
  /** Counts an event of a broker that no trigger wants. */
  readonly onUnmatched: (brokerUid: string) => void;
}

export interface Post {
  /** `<namespace>/<broker>` */
  readonly path: string;
  readonly rawHeaders: readonly string[];
  readonly body: Uint8Array;
  /** How large an event, and how long a batch, may be. */
  readonly limits: EventLimits;
}

/** Resolves when every event of the POST is stored (202). Rejects with a MeshError that says why not. */
export async function accept(parts: AcceptParts, post: Post): Promise<void> {
  const decoded = decodeHttp(post.rawHeaders, post.body, post.limits);
  const broker = parts.table.broker(post.path);
  if (broker === undefined) throw brokerNotFound(post.path);
  const beside = headersBeside(post.rawHeaders);
  if (decoded.kind === "event") {
    const event = enter(broker, decoded.event);
    const stored = await parts.store.store(broker, event, { beside });
    if (stored.delayed !== true && !stored.duplicate) noteUnmatched(parts, broker, event);
    return;
  }
  const events = decoded.events.map((event) => enter(broker, event));
  const entered = await parts.store.storeBatch(broker, events, { beside });
  for (const event of entered) noteUnmatched(parts, broker, event);
}

/** The path's broker, from a request target such as `/default/orders`. */
export function brokerPath(requestTarget: string): string {
  const query = requestTarget.indexOf("?");
  const path = query === -1 ? requestTarget : requestTarget.slice(0, query);
  if (path === "/" || path === "") {
    throw new MeshError("NOT_FOUND", {
      found: "/",
      expected: "/<namespace>/<broker>",
      fix: "Send events to e.g. /default/default",
    });
  }
  const parts = path.split("/");
  if (parts.length === 4 && parts[3] === "") parts.pop();
  if (parts.length !== 3 || parts[0] !== "" || parts[1] === "" || parts[2] === "") {
    throw new MeshError("PATH_INVALID", { found: path.slice(0, 200), expected: "/<namespace>/<broker>" });
  }
  return `${parts[1]}/${parts[2]}`;
}

/** The event as it enters: one hop less. Throws EVENT_LOOP when it has none left. */
export function enter(broker: BrokerRoute, event: Event): Event {
  const entered = takeHop(event, broker.hopsMax);
  if (entered !== undefined) return entered;
  throw new MeshError("EVENT_LOOP", {
    field: "knativebrokerttl",
    expected: "more than 1 hop left",
    found: event.attributes.knativebrokerttl ?? "none",
    fix: "Look for a function whose reply triggers itself, or raise weft.dev/max-hops on the broker",
  });
}

/** Makes it visible when no trigger wants an event that entered the broker, from a producer or as a reply. */
export function noteUnmatched(
  { table, journal, onUnmatched, now }: Omit<AcceptParts, "store">,
  broker: BrokerRoute,
  event: Event,
): void {
  const path = `${broker.namespace}/${broker.name}`;
  if (table.isWanted(path, event)) return;
  onUnmatched(broker.uid);
  const { id, type, source } = event.attributes;
  journal.unmatched({ kind: "unmatched", broker: path, id, type, source, at: now() });
}

/** What travels beside the event, as the reference broker passes it on (sheet knative-eventing §6.4). */
export function isPassedOn(lowerCaseName: string): boolean {
  return (
    lowerCaseName === "x-request-id" ||
    lowerCaseName.startsWith("knative-") ||
    lowerCaseName.startsWith("x-b3-")
  );
}

const plainValue = /^[\x20-\x7e]{0,1024}$/;
const besideMax = 32;

const none: RawHeaders = [];

/** The headers of a request that are kept beside its event; the last value of each. */
export function headersBeside(rawHeaders: readonly string[]): RawHeaders {
  let beside: Map<string, string> | undefined;
  let count = 0;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const first = (rawHeaders[i] ?? "").charCodeAt(0) | 0x20;
    if (first !== 0x78 /* x */ && first !== 0x6b /* k */) continue;
    const name = (rawHeaders[i] ?? "").toLowerCase();
    const value = rawHeaders[i + 1] ?? "";
    if (!isPassedOn(name) || !plainValue.test(value) || count >= besideMax) continue;
    beside ??= new Map();
    beside.set(name, value);
    count++;
  }
  return beside === undefined ? none : [...beside].flat();
}

export function brokerNotFound(path: string): MeshError {
  return new MeshError("BROKER_NOT_FOUND", {
    found: path.slice(0, 200),
    fix: "List the brokers with `weft get brokers`, or apply a manifest that makes this one",
  });
}
