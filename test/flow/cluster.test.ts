import { afterAll, beforeAll, expect, test } from "vitest";
import { CloseStack } from "../../src/mesh/lifecycle.ts";
import { startTestCluster, type TestCluster } from "../support/cluster.ts";
import { Ledger } from "../support/ledger.ts";
import { startLoad } from "../support/load.ts";
import { startTestMesh, type TestMesh, triggerManifest } from "../support/mesh.ts";
import { type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

const started = new CloseStack();
let cluster: TestCluster;
let subscriber: Subscriber;
let mesh: TestMesh;

beforeAll(async () => {
  subscriber = started.use("subscriber", await startSubscriber());
  cluster = started.use("cluster", await startTestCluster());
  mesh = started.use(
    "mesh",
    await startTestMesh({
      flags: ["--replicas", "3", "--warm-pool", "0"],
      serve: { natsUrl: cluster.url },
    }),
  );
}, 120_000);
afterAll(() => started.close());

test("every stream of the mesh has three copies", async () => {
  const streams = await cluster.streams();
  expect(streams).toEqual(
    expect.arrayContaining([
      "KV_weft-leases",
      "KV_weft-resources",
      "KV_weft-routes",
      "weft-at-default_default",
      "weft-counters",
      "weft-dl-default_default",
      "weft-ev-default_default",
      "weft-log-default_default",
      "weft-rd-default_default",
    ]),
  );
  for (const stream of streams)
    expect([stream, (await cluster.copiesOf(stream)).wanted]).toEqual([stream, 3]);
});

test("killing the leader of the event stream under load loses nothing that was accepted", async () => {
  const inbox = subscriber.inbox("load", 204);
  await mesh.serve(triggerManifest("load", { type: "load", to: inbox.url }));
  const ledger = new Ledger(mesh);
  const load = startLoad({ type: "load", ledgers: [ledger], producers: 4 });
  await until(() => load.sent() > 200, { what: "events flow" });
  const leader = await cluster.leaderOf("weft-ev-default_default");
  await cluster.kill9(leader);
  const sentBefore = load.sent();
  await until(() => load.sent() > sentBefore + 200, { deadlineMs: 60_000, what: "events flow again" });
  const delivered = inbox.accepted().length;
  await until(() => inbox.accepted().length > delivered + 100, {
    deadlineMs: 60_000,
    what: "events are delivered again",
  });
  cluster.start(leader);
  await until(async () => (await cluster.copiesOf("weft-ev-default_default")).current === 3, {
    deadlineMs: 60_000,
    what: "the third copy is whole again",
  });
  await load.stop();
  // Until another server leads, the truth is a refusal.
  for (const { status, retryAfter } of load.others) {
    expect({ status, retryAfter }).toEqual({ status: 503, retryAfter: "1" });
  }
  await ledger.settle({ trigger: "load", type: "load", inbox }, { deadlineMs: 90_000 });
}, 240_000);

test("without a majority ingress refuses, and everything goes on when the servers are back", async () => {
  const inbox = subscriber.inbox("majority", 204);
  await mesh.serve(triggerManifest("majority", { type: "majority", to: inbox.url }));
  const ledger = new Ledger(mesh);
  await ledger.accept({ id: "before", type: "majority" });
  const [first = "", second = ""] = cluster.names;
  await cluster.kill9(first);
  await cluster.kill9(second);
  const refused = await until(
    async () => {
      const answer = await ledger.send({ id: "meanwhile", type: "majority" });
      return answer?.status === 503 && answer;
    },
    { deadlineMs: 30_000, what: "events are refused" },
  );
  expect(refused.headers.get("retry-after")).toBe("1");
  cluster.start(first);
  cluster.start(second);
  await until(async () => (await ledger.send({ id: "meanwhile", type: "majority" }))?.status === 202, {
    deadlineMs: 60_000,
    what: "events are taken again",
  });
  await ledger.settle({ trigger: "majority", type: "majority", inbox }, { deadlineMs: 60_000 });
  const later = subscriber.inbox("later", 204);
  await until(
    async () => {
      await mesh.apply(triggerManifest("later", { type: "later", to: later.url }));
      return (await mesh.trigger("later")).ready;
    },
    { deadlineMs: 60_000, what: "the control plane works again" },
  );
}, 240_000);
