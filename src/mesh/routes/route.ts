/**
 * The CONTRACT of the two planes: reconcilers write these plain-data routes, ingress and dispatch read them.
 * Nothing else crosses. All of it is JSON-serialisable.
 */
import type { FilterSpec } from "../filter/filter.ts";

/** A broker that takes events. */
export interface BrokerRoute {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** How many hops an event may make through replies (DESIGN §5, `weft.dev/max-hops`). */
  readonly hopsMax: number;
  /** `weft.dev/journal`: every outcome, or failed attempts only. */
  readonly journal: "all" | "failures";
  /** `weft.dev/dedupe`: window for duplicates of (source, id), 0 for none at all; absent: the mesh's. */
  readonly dedupeMs?: number;
}

/** A place in a broker's stream of events. */
export type StartPoint =
  | { readonly kind: "new" }
  | { readonly kind: "first" }
  | { readonly kind: "sequence"; readonly sequence: number }
  /** The first event stored at or after it, epoch milliseconds. */
  | { readonly kind: "time"; readonly atMs: number };

/** A demand to deliver everything from `sequence` again; `at` tells one from the next. */
export interface Rewind {
  readonly sequence: number;
  readonly at: string;
}

/** Where an attempt goes. `uri` is what users see (subscriberUri, knativeerrordest), verbatim. */
export type Target =
  | { readonly kind: "url"; readonly uri: string }
  /** A function this mesh hosts: capacity comes from the host. */
  | {
      readonly kind: "function";
      readonly uri: string;
      readonly namespace: string;
      readonly name: string;
      readonly path: string;
    }
  /** A broker of this mesh: stored straight into its stream. */
  | { readonly kind: "broker"; readonly uri: string; readonly namespace: string; readonly name: string };

/** The effective delivery policy: inheritance and defaults are already applied (DESIGN §5). */
export interface DeliveryPolicy {
  /** Extra attempts after the first. */
  readonly retryMax: number;
  readonly backoffPolicy: "linear" | "exponential";
  readonly backoffDelayMs: number;
  /** Per attempt, headers and body. */
  readonly timeoutMs: number;
  /** Cap on an honoured Retry-After; 0 ignores the header. */
  readonly retryAfterMaxMs: number;
  /** `json` sends structured events; undefined is binary. */
  readonly format: "binary" | "json" | undefined;
}

/** Requests over HTTP that an event with an attribute answers, whatever its type (sheet knative-eventing §7). */
export interface RequestReplyRoute {
  readonly name: string;
  /** Takes the value that marks a request. */
  readonly correlationAttribute: string;
  /** Holds that value in the event that answers. */
  readonly replyAttribute: string;
  /** What such values begin with. */
  readonly prefix: string;
  readonly timeoutMs: number;
}

/** A trigger made runnable. */
export interface TriggerRoute {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly broker: string;
  /** AND over the elements; empty passes every event. Legacy `filter.attributes` is already translated. */
  readonly filters: readonly FilterSpec[];
  /** CESQL that may also look into JSON data (`data.<path>`), AND-ed with the filters. */
  readonly dataFilter: string | undefined;
  /** undefined while unresolved: the consumer is kept, nothing is sent. */
  readonly subscriber: Target | undefined;
  readonly deadLetterSink: Target | undefined;
  readonly policy: DeliveryPolicy;
  /** Attempts in flight at once (`weft.dev/concurrency`). */
  readonly concurrency: number;
  readonly paused: boolean;
  /** `weft.dev/order`: one attempt at a time per key, in stream order; absent: as they come. */
  readonly order?: "key";
  /** Where a consumer that has to be made begins (`weft.dev/start`); absent: with the next event. */
  readonly start?: StartPoint;
  /** It brings the replies of this RequestReply back to the ingress. */
  readonly requestReply?: RequestReplyRoute;
  /** The last rewind (`weft.dev/rewind`). */
  readonly rewind?: Rewind;
}

export interface Routes {
  readonly brokers: readonly BrokerRoute[];
  readonly triggers: readonly TriggerRoute[];
}
