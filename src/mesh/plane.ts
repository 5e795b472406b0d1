/**
 * The data plane on one connection to NATS: what ingress and dispatch work with, the same in the first process of
 * a mesh and in each of its workers.
 */
import { hostname } from "node:os";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { type Clock, rfc3339 } from "./clock.ts";
import type { Config } from "./config.ts";
import { ByteBudget, inHandBytesMax } from "./dispatch/byte-budget.ts";
import { Caller } from "./dispatch/call.ts";
import type { Capacity } from "./dispatch/capacity.ts";
import { DeadLetters } from "./dispatch/dead-letter.ts";
import { Dispatcher } from "./dispatch/dispatcher.ts";
import type { Portion } from "./dispatch/portion.ts";
import { Sender } from "./dispatch/send.ts";
import { Settler } from "./dispatch/settle.ts";
import type { MeshError } from "./errors.ts";
import { isPassedOn, noteUnmatched } from "./ingress/accept.ts";
import type { IngressParts } from "./ingress/app.ts";
import { Holders } from "./ingress/holders.ts";
import type { WaitBounds } from "./ingress/preference.ts";
import type { RequestReplyParts } from "./ingress/request-reply.ts";
import { Counters } from "./journal/counters.ts";
import { JournalReader } from "./journal/reader.ts";
import type { JournalRecord } from "./journal/record.ts";
import { JournalWriter } from "./journal/writer.ts";
import type { CloseStack } from "./lifecycle.ts";
import type { Log } from "./log.ts";
import type { MeshConnection } from "./nats/connection.ts";
import { Requester } from "./reply/requester.ts";
import { Responder } from "./reply/responder.ts";
import { Seal } from "./reply/seal.ts";
import type { RouteTable } from "./routes/table.ts";
import { ackWaitMs } from "./stream/consumer.ts";
import { EventStore } from "./stream/event-store.ts";
import { Leases } from "./stream/lease.ts";
import { outboxOf } from "./stream/outbox.ts";
import { Publisher } from "./stream/publish.ts";

export interface PlaneOptions {
  readonly connection: MeshConnection;
  readonly jsm: JetStreamManager;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly table: RouteTable;
  /** What of the work is this process's. */
  readonly portion: Portion;
  /** What happens to events here. Must not throw. */
  readonly onRecord: (record: JournalRecord) => void;
  /** Closes what is opened, before the connection. */
  readonly closing: CloseStack;
}

export interface Plane extends Omit<PlaneOptions, "onRecord"> {
  readonly nc: NatsConnection;
  readonly publisher: Publisher;
  readonly counters: Counters;
  readonly journal: JournalWriter;
  readonly journalReader: JournalReader;
  readonly deadLetters: DeadLetters;
  readonly store: EventStore;
  readonly leases: Leases;
  readonly requester: Requester;
  readonly responder: Responder;
  readonly holders: Holders;
  readonly seal: Seal;
}

/** What the largest event leaves of max_payload for headers. */
const headerReserveBytes = 64 * 1024;
/** However many processes share the budget, so many events of full size fit into the part of each. */
const eventsInHandMin = 4;
/** While the server has not said. */
const payloadBytesMin = 1024 * 1024;

/** The streams that all brokers share must be there. */
export async function openPlane(options: PlaneOptions): Promise<Plane> {
  const { connection, jsm, config, clock, log, table, closing, onRecord } = options;
  const { nc } = connection;
  closing.defer("outbox", () => outboxOf(nc).flush());
  const publisher = closing.use("publisher", new Publisher(nc, clock));
  connection.onDisconnect(() => publisher.setConnected(false));
  connection.onReconnect(() => publisher.setConnected(true));
  const counters = closing.use("counters", new Counters({ publisher, jsm, clock }));
  const journal = closing.use("journal", new JournalWriter({ publisher, clock, log }));
  journal.follow(onRecord);
  const { replicas } = config;
  const leases = await Leases.open(nc, { clock, log, replicas, owner: `${hostname()} ${process.pid}` });
  // Of each process: the clients of NATS are all with the first one, and connections are not dealt out by load.
  const waitersMax = config.requestsMax;
  const requester = closing.use("requester", new Requester({ nc, jsm, publisher, clock, log, waitersMax }));
  connection.onReconnect(() => requester.restart());
  const journalReader = new JournalReader({ jsm, clock });
  return {
    ...options,
    nc,
    publisher,
    counters,
    journal,
    journalReader,
    deadLetters: new DeadLetters({ jsm, publisher, clock }),
    store: new EventStore({ publisher, clock }),
    leases,
    requester,
    responder: new Responder({ nc, jsm, publisher }),
    holders: new Holders({ table, jsm, journalReader }),
    seal: await Seal.open(nc, { replicas }),
  };
}

/** Data and attributes of the largest event the server takes. */
export function eventBytesMax(nc: NatsConnection | undefined): number {
  return (nc?.info?.max_payload ?? payloadBytesMin) - headerReserveBytes;
}

/** Begins to deliver what the route table says. */
export function startDispatch(
  plane: Plane,
  { capacity }: { capacity: Capacity },
): { dispatcher: Dispatcher; settler: Settler } {
  const { connection, nc, jsm, config, clock, log, table, portion, closing, store, journalReader } = plane;
  const answerBytesMax = eventBytesMax(nc) + headerReserveBytes;
  const sender = closing.use("sender", new Sender({ clock, answerBytesMax }));
  const caller = new Caller({ sender, capacity, store, table, clock });
  const settler = new Settler({
    ...plane,
    caller,
    random: Math.random,
    onReplyStored: (broker, reply) => noteUnmatched(unmatchedParts(plane), broker, reply),
  });
  const dispatcher = new Dispatcher({
    nc,
    jsm,
    leases: plane.leases,
    budget: new ByteBudget(
      Math.max(Math.floor(inHandBytesMax / portion.of), eventsInHandMin * eventBytesMax(nc)),
    ),
    ackWaitMs,
    clock,
    log,
    caller,
    capacity,
    settler,
    journalReader,
    isPassedOn,
    random: Math.random,
    table,
    drainMs: config.drain,
    portion,
  });
  closing.use("dispatcher", dispatcher);
  connection.onReconnect(() => dispatcher.restart());
  return { dispatcher, settler };
}

export interface IngressDoors {
  readonly gateway: IngressParts["gateway"];
  readonly isFunctionHost: IngressParts["isFunctionHost"];
  /** Why nothing may enter the broker now, or undefined. */
  readonly refusal: (path: string) => MeshError | undefined;
}

/** What the events port works with. `plane` throws STORAGE_UNAVAILABLE until there is one. */
export function ingressParts(
  { config, table, clock, log }: Pick<PlaneOptions, "config" | "table" | "clock" | "log">,
  plane: () => Plane,
  doors: IngressDoors,
): IngressParts {
  return {
    ...doors,
    table,
    log,
    get store() {
      return plane().store;
    },
    get journal() {
      return plane().journal;
    },
    now: () => rfc3339(clock.now()),
    onUnmatched: (uid) => plane().counters.add(uid, "unmatched"),
    requests: () => requestParts(plane()),
    waits: waitBounds(config),
    limits: () => ({
      eventBytesMax: eventBytesMax(plane().nc),
      attributesBytesMax: config.attributesMax,
      batchEventsMax: config.batchMax,
    }),
  };
}

export function requestParts(plane: Plane): RequestReplyParts {
  const { store, requester, responder, holders, seal } = plane;
  return { ...unmatchedParts(plane), store, requester, responder, holders, seal };
}

export function waitBounds({ requestWait, requestWaitMax }: Config): WaitBounds {
  return { defaultMs: requestWait, maxMs: requestWaitMax };
}

export function unmatchedParts({
  table,
  journal,
  counters,
  clock,
}: Plane): Parameters<typeof noteUnmatched>[0] {
  return {
    table,
    journal,
    now: () => rfc3339(clock.now()),
    onUnmatched: (uid) => counters.add(uid, "unmatched"),
  };
}
