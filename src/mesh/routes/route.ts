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

/** A trigger made runnable. */
export interface TriggerRoute {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly broker: string;
  /** AND over the elements; empty passes every event. Legacy `filter.attributes` is already translated. */
  readonly filters: readonly FilterSpec[];
  /** undefined while unresolved: the consumer is kept, nothing is sent. */
  readonly subscriber: Target | undefined;
  readonly deadLetterSink: Target | undefined;
  readonly policy: DeliveryPolicy;
  /** Attempts in flight at once (`weft.dev/concurrency`). */
  readonly concurrency: number;
  readonly paused: boolean;
}

export interface Routes {
  readonly brokers: readonly BrokerRoute[];
  readonly triggers: readonly TriggerRoute[];
}
