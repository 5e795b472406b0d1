/**
 * The routes in a KV bucket, one key each: the active control plane writes them, every data plane follows. What
 * is in the bucket outlives its writer, so a data plane goes on without a control plane.
 */
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { routeBucket } from "./subjects.ts";

/** How long the mark of a deleted route stays: whoever was away for longer reads the whole bucket anyway. */
const markerTtlMs = 3_600_000;

/** Opens the bucket, making it when it is missing. */
export function openRouteBucket(nc: NatsConnection, { replicas }: { replicas: number }): Promise<KV> {
  return new Kvm(nc).create(routeBucket, {
    history: 1,
    replicas,
    markerTTL: markerTtlMs,
    // What is written next depends on what is there now, and only the leader knows that.
    allow_direct: false,
  });
}

/** For `purge`, in the words of NATS. */
export const routeMarkerTtl = `${markerTtlMs / 1000}s`;
