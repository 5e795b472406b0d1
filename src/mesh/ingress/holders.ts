/** WHERE an event is that nobody has answered yet: the triggers that still owe it an outcome, and their last attempt. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Event } from "../event/event.ts";
import type { JournalReader } from "../journal/reader.ts";
import type { AttemptRecord } from "../journal/record.ts";
import type { Place } from "../reply/ending.ts";
import type { TriggerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import { consumerInfo } from "../stream/consumer.ts";
import { eventStream } from "../stream/subjects.ts";

export interface HolderParts {
  readonly table: RouteTable;
  readonly jsm: JetStreamManager;
  readonly journalReader: JournalReader;
}

export interface Holder {
  /** `<namespace>/<trigger>` */
  readonly trigger: string;
  /** null while no attempt has failed: it waits for its turn, or the first one runs. */
  readonly lastAttempt: Pick<
    AttemptRecord,
    "at" | "attempt" | "error" | "status" | "message" | "retryAfterMs"
  > | null;
}

/** So many triggers are asked about one event; more would say no more. */
const holdersMax = 10;

/** Events that are looked for at once; a thousand waits may end in the same moment. */
const searchesMax = 32;

export class Holders {
  readonly #parts: HolderParts;
  #searches = 0;

  constructor(parts: HolderParts) {
    this.#parts = parts;
  }

  /** Triggers that want the event and may not be done with it; undefined when that cannot be said right now. */
  async of(place: Place, event: Event): Promise<readonly Holder[] | undefined> {
    if (this.#searches >= searchesMax) return undefined;
    this.#searches++;
    try {
      const wanting = this.#parts.table.wantedBy(`${place.namespace}/${place.broker}`, event);
      const looked = await Promise.all(wanting.slice(0, holdersMax).map((route) => this.#look(place, route)));
      return looked.filter((holder) => holder !== undefined);
    } catch {
      return undefined;
    } finally {
      this.#searches--;
    }
  }

  async #look({ sequence, ...at }: Place, route: TriggerRoute): Promise<Holder | undefined> {
    const { jsm, journalReader } = this.#parts;
    const broker = { namespace: at.namespace, name: at.broker };
    const info = await consumerInfo(jsm, eventStream(broker), route.uid);
    if (info !== undefined && info.ack_floor.stream_seq >= sequence) return undefined;
    const place = { triggerUid: route.uid, origin: "e", sequence } as const;
    const attempts = await journalReader.attempts(broker, place);
    return { trigger: `${route.namespace}/${route.name}`, lastAttempt: lastOf(attempts) };
  }
}

function lastOf(attempts: readonly AttemptRecord[]): Holder["lastAttempt"] {
  const last = attempts.at(-1);
  if (last === undefined) return null;
  const { at, attempt, error, status, message, retryAfterMs } = last;
  return {
    at,
    attempt,
    error,
    ...(status === undefined ? {} : { status }),
    ...(message === undefined ? {} : { message }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}
