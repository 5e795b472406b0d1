/** What the Service reconciler asks of whoever runs functions. All of it is idempotent. */

export interface ServiceKey {
  readonly namespace: string;
  readonly name: string;
}

/** One version of a function, ready to be started when traffic comes. */
export interface FunctionRevision {
  readonly namespace: string;
  /** The Service's name. */
  readonly name: string;
  readonly revision: string;
  /** Of the Revision. */
  readonly uid: string;
  /** The number of the revision among those of its Service. */
  readonly generation: number;
  /** The code by digest: `sha256:<hex>`. */
  readonly bundle: string;
  readonly env: Readonly<Record<string, string>>;
  /** 0: no limit. */
  readonly containerConcurrency: number;
  readonly timeoutSeconds: number;
  /** Of the template: `autoscaling.knative.dev/*` among them. */
  readonly annotations: Readonly<Record<string, string>>;
}

export type RevisionOutcome =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly reason: string; readonly message: string };

/** A revision's part of the requests to its Service. */
export interface TrafficShare {
  readonly revision: string;
  readonly percent: number;
  /** Requests to the tagged host name go here whatever the percentage. */
  readonly tag: string | undefined;
}

export interface FunctionHost {
  /** Resolves when the revision can take requests (it may be at zero instances), or cannot. */
  applyRevision(revision: FunctionRevision): Promise<RevisionOutcome>;
  /** The whole split of a Service; revisions of it that are not named may be stopped. */
  setTraffic(service: ServiceKey, traffic: readonly TrafficShare[]): void;
  /** Stops everything of the Service. */
  remove(service: ServiceKey): Promise<void>;
  /** Calls back when a Service should be looked at again (its code came, an instance cannot start). */
  onChange(listener: (service: ServiceKey) => void): void;
}
