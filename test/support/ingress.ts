/** An ingress beside a data plane, with a connection of its own as a process of its own would have. */
import { jetstreamManager } from "@nats-io/jetstream";
import { rfc3339, systemClock } from "../../src/mesh/clock.ts";
import { createIngress } from "../../src/mesh/ingress/app.ts";
import { Holders } from "../../src/mesh/ingress/holders.ts";
import { NatsRequests } from "../../src/mesh/ingress/nats-requests.ts";
import { createPlainIngress } from "../../src/mesh/ingress/plain.ts";
import { JournalReader } from "../../src/mesh/journal/reader.ts";
import { JournalWriter } from "../../src/mesh/journal/writer.ts";
import { CloseStack } from "../../src/mesh/lifecycle.ts";
import { listen } from "../../src/mesh/listen.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { Requester } from "../../src/mesh/reply/requester.ts";
import { Responder } from "../../src/mesh/reply/responder.ts";
import { Seal } from "../../src/mesh/reply/seal.ts";
import { EventStore } from "../../src/mesh/stream/event-store.ts";
import { Publisher } from "../../src/mesh/stream/publish.ts";
import type { DataPlane } from "./data-plane.ts";

export interface TestIngress {
  readonly url: string;
  /** Requests that wait for their reply now. */
  waiting(): number;
  /** As a process that ends in good order. */
  close(): Promise<void>;
  /** As a process that was killed: nobody hears of it any more. */
  kill(): Promise<void>;
}

/** Whoever starts it closes it, before the data plane. */
export async function startTestIngress(
  { nats, table }: Pick<DataPlane, "nats" | "table">,
  { requestsMax = 10_000 }: { requestsMax?: number } = {},
): Promise<TestIngress> {
  const own = new CloseStack();
  const clock = systemClock;
  const log = silentLog;
  const connection = await nats.connect("ingress");
  const { nc } = connection;
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const publisher = own.use("publisher", new Publisher(nc, clock));
  const journal = own.use("journal", new JournalWriter({ publisher, clock, log }));
  const requester = own.use(
    "requester",
    new Requester({ nc, jsm, publisher, clock, log, waitersMax: requestsMax }),
  );
  const holders = new Holders({ table, jsm, journalReader: new JournalReader({ jsm, clock }) });
  const store = new EventStore({ publisher, clock });
  const entering = { table, store, journal, now: () => rfc3339(clock.now()), onUnmatched() {} };
  const responder = new Responder({ nc, jsm, publisher });
  const seal = await Seal.open(nc, { replicas: 1 });
  const requests = { ...entering, requester, holders, responder, seal };
  const waits = { defaultMs: 20_000, maxMs: 60_000 };
  const refusal = () => undefined;
  const parts = {
    ...{ ...entering, log, waits, refusal },
    requests: () => requests,
    limits: () => ({ eventBytesMax: 1024 * 1024 }),
    gateway: () => false,
    isFunctionHost: () => false,
  };
  const { fetch } = createIngress(parts);
  const listener = await listen({
    fetch,
    plain: createPlainIngress(parts),
    host: "127.0.0.1",
    port: 0,
    flag: "--port",
    clock,
  });
  own.use("requests over NATS", new NatsRequests({ ...requests, nc, log, waits, refusal }));
  return {
    url: `http://127.0.0.1:${listener.port}`,
    waiting: () => requester.waiting,
    async close() {
      listener.stopAccepting();
      await own.close();
      await listener.close();
    },
    async kill() {
      await nc.close();
      await listener.close();
      await own.close();
    },
  };
}
