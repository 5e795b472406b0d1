/** What the host and its callers (reconciler, dispatcher, gateway, status) say to each other. Plain data. */
import type { StartTiming } from "./instance.ts";

export interface ServiceRef {
  readonly namespace: string;
  readonly name: string;
}

export interface RevisionSpec extends ServiceRef {
  /** The revision's name, `<service>-00001`. */
  readonly revision: string;
  /** The bundle; its name is its digest. */
  readonly file: string;
  /** Working directory of the instances. */
  readonly root?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** 0 is unlimited (the target, 100, is then the bound per instance). */
  readonly containerConcurrency: number;
  /** 0 means the default, 300. */
  readonly timeoutSeconds: number;
  /** Of the revision template: `autoscaling.knative.dev/*`, `serving.knative.dev/progress-deadline`. */
  readonly annotations: Readonly<Record<string, string>>;
}

export type RevisionResult =
  /** Warnings: annotations that were ignored, and why. */
  | { readonly ready: true; readonly warnings: readonly string[] }
  | { readonly ready: false; readonly reason: string; readonly message: string };

/** Leave to send one request to one instance. */
export interface Lease {
  /** `http://127.0.0.1:<port>`, without a path. */
  readonly url: string;
  /** To be added to the request. */
  readonly headers: Readonly<Record<string, string>>;
  readonly instance: string;
  /** `answered`: any HTTP response came; `broken`: none did. Idempotent; must be called. */
  release(outcome: "answered" | "broken"): void;
}

export interface ServiceStatus extends ServiceRef {
  /** The revision that gets the traffic. */
  readonly revision: string | undefined;
  readonly instances: readonly {
    readonly id: string;
    readonly pid: number;
    readonly revision: string;
    readonly state: "starting" | "ready" | "draining";
    readonly inFlight: number;
  }[];
  readonly desired: number;
  /** Ready instances. */
  readonly actual: number;
  readonly waiting: number;
  readonly panicking: boolean;
  readonly lastStart: StartTiming | undefined;
  /** Why the last start, or the last revision, failed; gone once one succeeds. */
  readonly problem: { readonly reason: string; readonly message: string } | undefined;
}
