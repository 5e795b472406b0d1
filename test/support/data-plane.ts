/**
 * The data plane without the rest: one broker on a real NATS server, and any number of dispatchers on it, each
 * with a connection of its own as a process of its own would have. Routes are written by the test.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { systemClock } from "../../src/mesh/clock.ts";
import { ByteBudget } from "../../src/mesh/dispatch/byte-budget.ts";
import { Caller } from "../../src/mesh/dispatch/call.ts";
import { noCapacity } from "../../src/mesh/dispatch/capacity.ts";
import { DeadLetters } from "../../src/mesh/dispatch/dead-letter.ts";
import { Dispatcher } from "../../src/mesh/dispatch/dispatcher.ts";
import { type Portion, wholeDispatch } from "../../src/mesh/dispatch/portion.ts";
import { Sender } from "../../src/mesh/dispatch/send.ts";
import { Settler } from "../../src/mesh/dispatch/settle.ts";
import type { Event } from "../../src/mesh/event/event.ts";
import { Counters } from "../../src/mesh/journal/counters.ts";
import { JournalReader } from "../../src/mesh/journal/reader.ts";
import { JournalWriter } from "../../src/mesh/journal/writer.ts";
import { CloseStack } from "../../src/mesh/lifecycle.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { Responder } from "../../src/mesh/reply/responder.ts";
import type { BrokerRoute, TriggerRoute } from "../../src/mesh/routes/route.ts";
import { RouteTable } from "../../src/mesh/routes/table.ts";
import { ackWaitMs, ensureTriggerConsumers } from "../../src/mesh/stream/consumer.ts";
import { EventStore } from "../../src/mesh/stream/event-store.ts";
import { Leases } from "../../src/mesh/stream/lease.ts";
import { Provisioner } from "../../src/mesh/stream/provision.ts";
import { Publisher } from "../../src/mesh/stream/publish.ts";
import { startTestNats, type TestNats } from "./nats.ts";

const answerBytesMax = 1024 * 1024;
const drainMs = 2000;

export interface TestDispatcher {
  /** Attempts running for a trigger. */
  inFlight(triggerUid: string): number;
  /** Bytes in hand, of all triggers. */
  bytesInHand(): number;
  /** As a process that ends in good order. */
  close(): Promise<void>;
  /** As a process that was killed: NATS hears nothing of it any more; its attempts lead to nothing. */
  kill(): Promise<void>;
}

export interface DataPlane {
  readonly nats: TestNats;
  readonly table: RouteTable;
  /** A trigger with its consumers; whoever dispatches serves it from now on. */
  trigger(
    name: string,
    wishes: Partial<TriggerRoute> & Pick<TriggerRoute, "subscriber">,
  ): Promise<TriggerRoute>;
  /** Resolves when it is stored. */
  store(event: { id: string; type: string; data?: Uint8Array; [attribute: string]: unknown }): Promise<void>;
  dispatcher(options?: DispatcherOptions): Promise<TestDispatcher>;
  /** How many events a trigger's consumer has out or ahead. */
  owed(trigger: TriggerRoute): Promise<number>;
  /** Deletes the stored events of a type. */
  purge(type: string): Promise<void>;
  /** How often a trigger's consumer has handed something out. */
  deliveries(trigger: TriggerRoute): Promise<number>;
  close(): Promise<void>;
}

export interface DispatcherOptions {
  /** What of the dispatch it does; all of it when absent. */
  readonly portion?: Portion;
  readonly inHandBytesMax?: number;
  /** It never says that an attempt still runs. */
  readonly isSilent?: boolean;
  /** While it answers with an error, the journal is out of this dispatcher's reach. */
  readonly journalFault?: () => Error | undefined;
}

export interface DataPlaneOptions {
  readonly ackWaitMs?: number;
  readonly leaseTtlMs?: number;
}

class FaultyJournalReader extends JournalReader {
  readonly #fault: () => Error | undefined;

  constructor({
    fault = () => undefined,
    ...parts
  }: ConstructorParameters<typeof JournalReader>[0] & { fault: DispatcherOptions["journalFault"] }) {
    super(parts);
    this.#fault = fault;
  }

  override async attempts(
    ...asked: Parameters<JournalReader["attempts"]>
  ): ReturnType<JournalReader["attempts"]> {
    const fault = this.#fault();
    if (fault !== undefined) throw fault;
    return super.attempts(...asked);
  }
}

export async function startDataPlane(options: DataPlaneOptions = {}): Promise<DataPlane> {
  const waitMs = options.ackWaitMs ?? ackWaitMs;
  const clock = systemClock;
  const log = silentLog;
  const started = new CloseStack((name, error) => process.stderr.write(`closing ${name}: ${error}\n`));
  const nats = started.use("nats", await startTestNats());
  const { nc } = await nats.connect("producer");
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const broker: BrokerRoute = {
    namespace: "default",
    name: "default",
    uid: "broker-uid",
    hopsMax: 64,
    journal: "all",
  };
  const provisioner = new Provisioner(jsm, {
    replicas: 1,
    eventAgeMs: 3_600_000,
    dedupeMs: 120_000,
    journalAgeMs: 3_600_000,
    journalBytesMax: 64 * 1024 * 1024,
  });
  await provisioner.ensureShared();
  await provisioner.ensureBroker(broker);
  const table = new RouteTable();
  const triggers: TriggerRoute[] = [];
  const store = new EventStore({ publisher: started.use("publisher", new Publisher(nc, clock)), clock });
  const consumerOf = ({ uid }: TriggerRoute) => jsm.consumers.info("weft-ev-default_default", `t-${uid}`);

  async function dispatcher(wishes: DispatcherOptions = {}): Promise<TestDispatcher> {
    const own = new CloseStack();
    const connection = await nats.connect("dispatcher");
    const { nc } = connection;
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    const publisher = own.use("publisher", new Publisher(nc, clock));
    const counters = own.use("counters", new Counters({ publisher, jsm, clock }));
    const journal = own.use("journal", new JournalWriter({ publisher, clock, log }));
    const journalReader = new FaultyJournalReader({ jsm, clock, fault: wishes.journalFault });
    const sender = own.use("sender", new Sender({ clock, answerBytesMax }));
    const store = new EventStore({ publisher, clock });
    const caller = new Caller({ sender, capacity: noCapacity, store, table, clock });
    const leases = await Leases.open(nc, {
      clock,
      log,
      replicas: 1,
      owner: "test",
      ...(options.leaseTtlMs === undefined ? {} : { ttlMs: options.leaseTtlMs }),
    });
    const budget = new ByteBudget(wishes.inHandBytesMax);
    const settler = new Settler({
      clock,
      log,
      store,
      deadLetters: new DeadLetters({ jsm, publisher, clock }),
      journal,
      journalReader,
      counters,
      caller,
      responder: new Responder({ nc, jsm, publisher }),
      onReplyStored() {},
      random: Math.random,
    });
    const dispatcher = own.use(
      "dispatcher",
      new Dispatcher({
        nc,
        jsm,
        leases,
        budget,
        ackWaitMs: wishes.isSilent ? 3_600_000 : waitMs,
        clock,
        log,
        caller,
        capacity: noCapacity,
        settler,
        journalReader,
        isPassedOn: () => false,
        random: Math.random,
        table,
        drainMs,
        portion: wishes.portion ?? wholeDispatch,
      }),
    );
    connection.onReconnect(() => dispatcher.restart());
    started.defer("dispatcher", () => own.close());
    return {
      inFlight: (uid) => dispatcher.inFlight(uid),
      bytesInHand: () => budget.used,
      close: () => own.close(),
      async kill() {
        await connection.nc.close();
        await own.close();
      },
    };
  }

  return {
    nats,
    table,
    async trigger(name, wishes) {
      const trigger: TriggerRoute = {
        namespace: "default",
        name,
        uid: `${name}-uid`,
        broker: "default",
        filters: [{ exact: { type: name } }],
        dataFilter: undefined,
        deadLetterSink: undefined,
        policy: {
          retryMax: 10,
          backoffPolicy: "linear",
          backoffDelayMs: 200,
          timeoutMs: 60_000,
          retryAfterMaxMs: 3_600_000,
          format: undefined,
        },
        concurrency: 100,
        paused: false,
        ...wishes,
      };
      await ensureTriggerConsumers(jsm, {
        broker,
        triggerUid: trigger.uid,
        filters: trigger.filters,
        start: trigger.start,
        rewind: undefined,
        ackWaitMs: waitMs,
      });
      triggers.push(trigger);
      table.set({ brokers: [broker], triggers: [...triggers] });
      return trigger;
    },
    async store({ data, ...attributes }) {
      const event = {
        attributes: { specversion: "1.0", source: `/test/${attributes.type}`, ...attributes },
        data,
      } as Event;
      await store.store(broker, event);
    },
    dispatcher,
    async owed(trigger) {
      const { num_ack_pending, num_pending } = await consumerOf(trigger);
      return num_ack_pending + num_pending;
    },
    async purge(type) {
      await jsm.streams.purge("weft-ev-default_default", { filter: `weft.ev.default.default.${type}` });
    },
    async deliveries(trigger) {
      return (await consumerOf(trigger)).delivered.consumer_seq;
    },
    close: () => started.close(),
  };
}
