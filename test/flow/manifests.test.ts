import { describe, expect, test } from "vitest";
import { brokerManifest, type Manifest, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { until } from "../support/until.ts";

useSharedMesh();

const yaml = (...objects: readonly Manifest[]) =>
  objects.map((object) => JSON.stringify(object)).join("\n---\n");

/** Rejected documents of one file, waiting until there are so many. */
async function rejectedIn(file: string, count: number) {
  return until(
    async () => {
      const found = (await mesh.status()).rejected.filter((each) => each.file.endsWith(file));
      return found.length === count && { found };
    },
    { what: `${count} rejected in ${file}` },
  );
}

async function isReady(name: string): Promise<boolean> {
  return (await mesh.trigger(name)).ready;
}

async function isGone(name: string): Promise<boolean> {
  return !(await mesh.status()).triggers.some((trigger) => trigger.name === name);
}

describe("a rejected document", () => {
  test("is named with file, line and field, and its neighbours apply", async () => {
    const inbox = subscriber.inbox("good");
    await mesh.writeManifest(
      "mixed.yaml",
      `apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: good}
spec:
  broker: default
  filters: [{exact: {type: good}}]
  subscriber: {uri: "${inbox.url}"}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: bad-delay
spec:
  broker: default
  subscriber:
    uri: ${inbox.url}
  delivery:
    retry: 2
    backoffDelay: 5s
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: bad-filter
spec:
  broker: default
  filters:
    - cesql: "type ="
  subscriber:
    uri: ${inbox.url}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: bad-field
spec:
  broker: default
  subcriber:
    uri: ${inbox.url}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
`,
    );
    const { found } = await rejectedIn("mixed.yaml", 4);
    expect(found.map(({ kind, name, line }) => [kind, name, line])).toEqual([
      ["Trigger", "bad-delay", 19],
      ["Trigger", "bad-filter", 28],
      ["Trigger", "bad-field", expect.any(Number)],
      ["ConfigMap", "other", 42],
    ]);
    const messages = found.map(({ message }) => message);
    expect(messages[0]).toMatch(/spec\.delivery\.backoffDelay/);
    expect(messages[1]).toMatch(/spec\.filters\[0\]\.cesql/);
    expect(messages[2]).toMatch(/spec\.subcriber/);
    expect(messages[3]).toMatch(/ConfigMap/);
    await until(() => isReady("good"), { what: "the good trigger" });
    await ledger.accept({ id: "good", type: "good" });
    await ledger.settle({ trigger: "good", type: "good", inbox });
  });

  test("applies once it is corrected", async () => {
    await mesh.writeManifest(
      "mixed.yaml",
      yaml(
        triggerManifest("good", { type: "good", to: subscriber.inbox("unused").url }),
        triggerManifest("bad-delay", { type: "x", to: subscriber.inbox("corrected").url }),
      ),
    );
    await rejectedIn("mixed.yaml", 0);
    await until(() => isReady("bad-delay"), { what: "the corrected trigger" });
  });

  test("in text that is no YAML is told with its line, and takes nothing down", async () => {
    await mesh.writeManifest("broken.yaml", "apiVersion: v1\nkind: [\n");
    const { found } = await rejectedIn("broken.yaml", 1);
    expect(found[0]).toMatchObject({
      kind: "",
      name: "",
      message: expect.stringMatching(/^not valid YAML: /),
    });
    expect(found[0]?.line).toBeGreaterThanOrEqual(2);
    expect(await isReady("good")).toBe(true);
    await mesh.removeManifest("broken.yaml");
    await rejectedIn("broken.yaml", 0);
  });

  test("of apply is answered, not kept", async () => {
    const { applied, rejected } = await mesh.applyText(
      `${yaml(brokerManifest("from-apply"))}\n---\n{"apiVersion":"eventing.knative.dev/v1","kind":"Trigger","metadata":{"name":"t"},"spec":{"broker":"from-apply","delivery":{"retry":-1}}}`,
    );
    expect(applied).toMatchObject([{ kind: "Broker", name: "from-apply", result: "created" }]);
    expect(rejected).toMatchObject([{ kind: "Trigger", name: "t" }]);
    expect(rejected[0]?.message).toContain("spec.delivery.retry");
  });
});

describe("a trigger", () => {
  test("without its broker says BrokerDoesNotExist, and recovers when the broker comes", async () => {
    const inbox = subscriber.inbox("later");
    await mesh.writeManifest(
      "later.yaml",
      yaml(triggerManifest("later", { broker: "later", to: inbox.url })),
    );
    await until(async () => (await mesh.trigger("later")).reason === "BrokerDoesNotExist", {
      what: "the reason",
    });
    expect(await isReady("later")).toBe(false);
    expect((await ledger.send({ id: "early", type: "t", path: "/default/later" }))?.status).toBe(404);
    await mesh.writeManifest("later-broker.yaml", yaml(brokerManifest("later")));
    await until(() => isReady("later"), { what: "the trigger recovers" });
    await ledger.accept({ id: "late", type: "late", path: "/default/later" });
    await ledger.settle({ trigger: "later", type: "late", inbox });
    expect(inbox.accepted()).toEqual(["late"]);
  });

  test("whose subscriber does not resolve keeps its events until it does", async () => {
    const inbox = subscriber.inbox("reply-of-absent");
    await mesh.serve(triggerManifest("reply-of-absent", { type: "absent.reply", to: inbox.url }));
    await mesh.apply(triggerManifest("absent", { type: "absent", to: "absent" }));
    await until(async () => (await mesh.trigger("absent")).reason !== "", { what: "a reason" });
    expect(await mesh.trigger("absent")).toMatchObject({
      ready: false,
      reason: "Unable to get the Subscriber's URI",
    });
    for (let i = 0; i < 3; i++) await ledger.accept({ id: `absent-${i}`, type: "absent" });
    expect(await mesh.trigger("absent")).toMatchObject({ pending: 3, inFlight: 0, dead: 0 });
    await mesh.writeFunction("absent.ts", "export default (event) => ({ got: event.id });\n");
    await until(() => inbox.received.length === 3, { what: "the events that waited" });
    expect(await mesh.trigger("absent")).toMatchObject({ ready: true, pending: 0, delivered: 3, retried: 0 });
  });

  test("that is edited goes on with what it owes, by the new rules", async () => {
    const [old, now] = [subscriber.inbox("old", 503), subscriber.inbox("now")];
    const delivery = { retry: 50, backoffPolicy: "linear", backoffDelay: "PT0.05S" };
    await mesh.serve(triggerManifest("edited", { type: "edit.a", to: old.url, delivery }));
    await ledger.accept({ id: "owed", type: "edit.a" });
    await until(() => old.received.length > 0, { what: "an attempt at the old address" });
    await mesh.serve(
      triggerManifest("edited", {
        filters: [{ any: [{ exact: { type: "edit.a" } }, { exact: { type: "edit.b" } }] }],
        to: now.url,
        delivery,
      }),
    );
    await until(() => now.accepted().includes("owed"), { what: "what was owed, at the new address" });
    await until(
      async () => {
        await ledger.accept({ id: `b-${crypto.randomUUID()}`, type: "edit.b" });
        return now.received.some(({ type }) => type === "edit.b");
      },
      { what: "the new filter" },
    );
    await mesh.serve(triggerManifest("edited", { type: "edit.c", to: now.url }));
    await until(
      async () => {
        await ledger.accept({ id: `c-${crypto.randomUUID()}`, type: "edit.c" });
        return now.received.some(({ type }) => type === "edit.c");
      },
      { what: "the newest filter" },
    );
  });

  test("that is deleted gets nothing more, and one of its name starts afresh", async () => {
    const inbox = subscriber.inbox("deleted", 503);
    const text = yaml(
      triggerManifest("deleted", {
        type: "deleted",
        to: inbox.url,
        delivery: { retry: 50, backoffPolicy: "linear", backoffDelay: "PT0.05S" },
      }),
    );
    await mesh.writeManifest("deleted.yaml", text);
    await until(() => isReady("deleted"), { what: "the trigger" });
    await ledger.accept({ id: "unlucky", type: "deleted" });
    await until(() => inbox.received.length > 0, { what: "an attempt" });
    await mesh.removeManifest("deleted.yaml");
    await until(() => isGone("deleted"), { what: "the trigger is gone" });
    await ledger.accept({ id: "between", type: "deleted" });
    inbox.follow(204);
    await mesh.writeManifest("deleted.yaml", text);
    await until(() => isReady("deleted"), { what: "the trigger is back" });
    await ledger.accept({ id: "after", type: "deleted" });
    await until(() => inbox.accepted().length > 0, { what: "a delivery" });
    expect(inbox.accepted()).toEqual(["after"]);
    expect(await mesh.trigger("deleted")).toMatchObject({ delivered: 1, retried: 0, pending: 0 });
  });
});

describe("a broker", () => {
  test("that is deleted takes no more events, and one of its name starts empty", async () => {
    const inbox = subscriber.inbox("of-doomed");
    const text = yaml(brokerManifest("doomed"));
    await mesh.writeManifest("doomed.yaml", text);
    await until(async () => (await mesh.status()).brokers.some(({ name }) => name === "doomed"));
    await mesh.serve(triggerManifest("of-doomed", { broker: "doomed", to: inbox.url }));
    await ledger.accept({ id: "d-1", type: "doomed", path: "/default/doomed" });
    await until(() => inbox.received.length === 1, { what: "the first event" });
    await mesh.removeManifest("doomed.yaml");
    await until(async () => (await mesh.trigger("of-doomed")).reason === "BrokerDoesNotExist", {
      what: "the trigger tells",
    });
    expect((await ledger.send({ id: "d-2", type: "doomed", path: "/default/doomed" }))?.status).toBe(404);
    await mesh.writeManifest("doomed.yaml", text);
    await until(() => isReady("of-doomed"), { what: "the trigger is back" });
    await ledger.accept({ id: "d-1", type: "doomed", path: "/default/doomed" });
    await until(() => inbox.received.length === 2, { what: "the event, which the new broker has not seen" });
    const { brokers } = await mesh.status();
    expect(brokers.find(({ name }) => name === "doomed")).toMatchObject({ events: 1 });
  });

  test("that is not Weft's is left alone", async () => {
    await mesh.apply(
      brokerManifest("foreign", { annotations: { "eventing.knative.dev/broker.class": "Kafka" } }),
    );
    expect((await mesh.objects("brokers")).get("foreign")?.status).toBeUndefined();
    expect((await ledger.send({ id: "f", type: "t", path: "/default/foreign" }))?.status).toBe(404);
  });
});

test("what was applied is there after a restart", async () => {
  const before = (await mesh.status()).triggers.map(({ name, ready }) => [name, ready]);
  await mesh.restart();
  await until(async () => (await mesh.trigger("absent")).ready, { what: "all is served" });
  expect((await mesh.status()).triggers.map(({ name, ready }) => [name, ready])).toEqual(before);
});
