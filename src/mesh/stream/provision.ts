/**
 * Makes and removes what brokers and triggers need in JetStream. Idempotent; what exists is updated.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import { ensureTriggerConsumers, removeTriggerConsumers } from "./consumer.ts";
import { ensureMoverConsumer } from "./delayed.ts";
import {
  ensureBrokerStreams,
  ensureBucketReplicas,
  ensureCounterStream,
  ensureReplyStream,
  removeBrokerStreams,
  type StreamLimits,
} from "./stream.ts";
import { type BrokerKey, brokerOfStream, consumerName, eventStream } from "./subjects.ts";

export interface TriggerKey {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly broker: string;
}

export class Provisioner {
  readonly #jsm: JetStreamManager;
  readonly #limits: StreamLimits;

  constructor(jsm: JetStreamManager, limits: StreamLimits) {
    this.#jsm = jsm;
    this.#limits = limits;
  }

  async ensureShared(): Promise<void> {
    await ensureCounterStream(this.#jsm, this.#limits.replicas);
    await ensureReplyStream(this.#jsm, this.#limits.replicas);
  }

  /** Buckets that exist. */
  async ensureBuckets(...buckets: readonly string[]): Promise<void> {
    for (const bucket of buckets) await ensureBucketReplicas(this.#jsm, bucket, this.#limits.replicas);
  }

  async ensureBroker(route: BrokerRoute): Promise<void> {
    const { dedupeMs, eventAgeMs } = this.#limits;
    // No window may be longer than what it looks into; that of a broker without one still serves replies.
    const window = Math.min(route.dedupeMs || dedupeMs, eventAgeMs);
    await ensureBrokerStreams(this.#jsm, route, { ...this.#limits, dedupeMs: window });
    await ensureMoverConsumer(this.#jsm, route);
  }

  async removeBroker(key: BrokerKey): Promise<void> {
    await removeBrokerStreams(this.#jsm, key);
  }

  async ensureTrigger(route: TriggerRoute): Promise<void> {
    await ensureTriggerConsumers(this.#jsm, {
      broker: { namespace: route.namespace, name: route.broker },
      triggerUid: route.uid,
      filters: route.filters,
      start: route.start,
      rewind: route.rewind,
    });
  }

  async removeTrigger({ namespace, broker, uid }: TriggerKey): Promise<void> {
    await removeTriggerConsumers(this.#jsm, { broker: { namespace, name: broker }, triggerUid: uid });
  }

  /**
   * Streams of brokers, and consumers of triggers, that were deleted while nobody was there to clean up. What is
   * alive is asked after each is found, because both are made all the time.
   */
  async removeOrphans(
    alive: () => { readonly brokers: readonly BrokerKey[]; readonly triggers: readonly TriggerKey[] },
  ): Promise<void> {
    const atFirst = alive();
    const streams = new Set(atFirst.brokers.map(eventStream));
    const consumers = new Set(atFirst.triggers.map(({ uid }) => consumerName(uid)));
    const hasBroker = (stream: string) =>
      streams.has(stream) || alive().brokers.some((broker) => eventStream(broker) === stream);
    const hasTrigger = (consumer: string) =>
      consumers.has(consumer) || alive().triggers.some(({ uid }) => consumerName(uid) === consumer);
    for await (const { config } of this.#jsm.streams.list()) {
      const broker = brokerOfStream(config.name);
      if (broker === undefined || eventStream(broker) !== config.name) continue;
      if (!hasBroker(config.name)) {
        await removeBrokerStreams(this.#jsm, broker);
        continue;
      }
      for await (const { name } of this.#jsm.consumers.list(config.name)) {
        if (!name.startsWith("t-") || hasTrigger(name)) continue;
        await removeTriggerConsumers(this.#jsm, { broker, triggerUid: name.slice(2) });
      }
    }
  }
}
