import { describe, expect, test } from "vitest";
import { brokerManifest, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { type Act, type Received, waits } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

useSharedMesh();

const soon = { backoffPolicy: "linear", backoffDelay: "PT0.01S" };

/** Sends one event to a trigger of its own; resolves when the trigger owes nothing any more. */
async function deliver(
  name: string,
  { delivery, broker, script }: { delivery?: object; broker?: string; script: readonly Act[] },
): Promise<{ received: readonly Received[]; retried: number; dead: number; delivered: number }> {
  const inbox = subscriber.inbox(name, ...script);
  const options = { type: name, to: inbox.url, ...(broker === undefined ? {} : { broker }) };
  await mesh.serve(triggerManifest(name, delivery === undefined ? options : { ...options, delivery }));
  await ledger.accept({ id: name, type: name, path: `/default/${broker ?? "default"}` });
  const { retried, dead, delivered } = await until(
    async () => {
      const trigger = await mesh.trigger(name);
      return trigger.pending + trigger.inFlight === 0 && trigger.delivered + trigger.dead > 0 && trigger;
    },
    { what: `an outcome at ${name}` },
  );
  return { received: inbox.of(name), retried, dead, delivered };
}

describe("status", () => {
  test.concurrent.each([404, 408, 409, 429, 500, 501, 502, 503, 504, 599])(
    "%i is retried until the retries are used up",
    async (status) => {
      const name = `retried-${status}`;
      const { received, retried, dead } = await deliver(name, {
        delivery: { retry: 2, ...soon },
        script: [{ status, body: `answer ${status}` }],
      });
      expect({ attempts: received.length, retried, dead }).toEqual({ attempts: 3, retried: 2, dead: 1 });
      const letter = await mesh.deadLetter(name);
      expect(letter.reason).toBe("RetriesExhausted");
      expect(letter.attempts.map((attempt) => [attempt.status, attempt.body])).toEqual(
        Array(3).fill([status, `answer ${status}`]),
      );
    },
  );

  test.concurrent.each([300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 405, 406, 410, 413, 418, 422, 451])(
    "%i is dead at once",
    async (status) => {
      const name = `dead-${status}`;
      const elsewhere = subscriber.inbox(`${name}-location`);
      const { received, retried, dead } = await deliver(name, {
        delivery: { retry: 2, ...soon },
        script: [{ status, headers: { location: elsewhere.url } }],
      });
      expect({ attempts: received.length, retried, dead }).toEqual({ attempts: 1, retried: 0, dead: 1 });
      const letter = await mesh.deadLetter(name);
      expect(letter.reason).toBe("NotRetryable");
      expect(letter.attempts.map((attempt) => attempt.status)).toEqual([status]);
      expect(elsewhere.received).toEqual([]);
    },
  );

  test.concurrent.each([200, 201, 202, 203, 204, 206, 226, 299])(
    "%i is delivered, whatever its body",
    async (status) => {
      const name = `delivered-${status}`;
      const { received, delivered, dead } = await deliver(name, {
        delivery: { retry: 2, ...soon },
        script: [{ status, headers: { "content-type": "text/html" }, body: status === 204 ? "" : "<p>ok" }],
      });
      expect({ attempts: received.length, delivered, dead }).toEqual({ attempts: 1, delivered: 1, dead: 0 });
      expect(await mesh.deadLetters({ trigger: name })).toEqual([]);
    },
  );
});

describe("no answer", () => {
  const timeout = "PT0.2S";
  const cases: readonly [string, Act, object, RegExp][] = [
    ["a hanging subscriber", "hang", { timeout }, /^Timeout: no answer within 200 ms/],
    ["an answer that never ends", { status: 200, body: "so far", unfinished: true }, { timeout }, /^Timeout/],
    ["a cut connection", "reset", {}, /^ConnectionReset/],
  ];
  test.concurrent.each(cases)("%s is a failed attempt and retried", async (what, act, more, error) => {
    const name = `no-answer-${what.replaceAll(" ", "-")}`;
    const { received, dead } = await deliver(name, {
      delivery: { retry: 1, ...soon, ...more },
      script: [act],
    });
    expect({ attempts: received.length, dead }).toEqual({ attempts: 2, dead: 1 });
    const letter = await mesh.deadLetter(name);
    expect(letter.reason).toBe("RetriesExhausted");
    for (const attempt of letter.attempts) {
      expect(attempt.status).toBeNull();
      expect(attempt.error).toMatch(error);
    }
    expect(letter.attempts).toHaveLength(2);
  });

  test.concurrent.each([
    ["a closed port", "http://127.0.0.1:1/closed", /^ConnectionRefused/],
    ["a host without an address", "http://no-such-host.invalid/", /^HostNotFound/],
    ["a scheme that is not HTTP", "bad://uri/path", /^UnsupportedUrl/],
  ])("%s is a failed attempt", async (what, to, error) => {
    const name = what.replaceAll(" ", "-").toLowerCase();
    await mesh.serve(triggerManifest(name, { type: name, to, delivery: { retry: 1, ...soon } }));
    await ledger.accept({ id: name, type: name });
    const { attempts } = await mesh.deadLetter(name);
    expect(attempts.map((attempt) => attempt.status)).toEqual([null, null]);
    for (const attempt of attempts) expect(attempt.error).toMatch(error);
  });

  test.concurrent("a slow answer within the timeout is waited for", async () => {
    const { received, delivered } = await deliver("slow-but-in-time", {
      delivery: { timeout: "PT20S" },
      script: [{ status: 204, delayMs: 700 }],
    });
    expect({ attempts: received.length, delivered }).toEqual({ attempts: 1, delivered: 1 });
  });
});

describe("back-off", () => {
  const failing = [503, 503, 503, 204];
  test.concurrent.each([
    ["linear", { retry: 3, backoffPolicy: "linear", backoffDelay: "PT0.2S" }, [200, 400, 600]],
    ["exponential", { retry: 3, backoffPolicy: "exponential", backoffDelay: "PT0.2S" }, [200, 400, 800]],
    ["default", { retry: 3 }, [200, 400, 800]],
    ["zero", { retry: 3, backoffPolicy: "linear", backoffDelay: "PT0S" }, [0, 0, 0]],
  ])(
    "%s waits before the first retry too, and longer before each further one",
    async (name, delivery, least) => {
      const { received, retried, delivered } = await deliver(`backoff-${name}`, {
        delivery,
        script: failing,
      });
      expect({ attempts: received.length, retried, delivered }).toEqual({
        attempts: 4,
        retried: 3,
        delivered: 1,
      });
      for (const [i, wait] of waits(received).entries())
        expect(wait).toBeGreaterThanOrEqual(least[i] ?? Number.NaN);
    },
  );

  test.concurrent("a broker without delivery retries with exponential back-off from 0.2 s", async () => {
    const { received, delivered } = await deliver("backoff-inherited", { script: [500, 500, 204] });
    expect(delivered).toBe(1);
    const [first = 0, second = 0] = waits(received);
    expect(first).toBeGreaterThanOrEqual(200);
    expect(second).toBeGreaterThanOrEqual(400);
  });

  test.concurrent("a poison event in back-off does not hold its neighbours up", async () => {
    const inbox = subscriber.inbox("neighbours", ({ id }) => (id === "poison" ? 503 : 204));
    await mesh.serve(
      triggerManifest("neighbours", {
        type: "neighbours",
        to: inbox.url,
        delivery: { retry: 5, backoffPolicy: "linear", backoffDelay: "PT1H" },
        annotations: { "weft.dev/concurrency": "1" },
      }),
    );
    await ledger.accept({ id: "poison", type: "neighbours" });
    for (let i = 0; i < 5; i++) await ledger.accept({ id: `neighbour-${i}`, type: "neighbours" });
    await until(() => inbox.accepted().length === 5, { what: "the neighbours arrived" });
    // The last one has answered, and is acked a moment later.
    await until(async () => (await mesh.trigger("neighbours")).pending === 1, {
      what: "only the poison owed",
    });
    const { pending, inFlight, retried } = await mesh.trigger("neighbours");
    expect({ pending, inFlight, retried }).toEqual({ pending: 1, inFlight: 0, retried: 1 });
    await ledger.balance({ trigger: "neighbours", type: "neighbours", inbox });
  });
});

describe("Retry-After", () => {
  const retry = { retry: 1, ...soon };
  test.concurrent.each([429, 503])("on %i in seconds is waited for", async (status) => {
    const { received } = await deliver(`retry-after-${status}`, {
      delivery: retry,
      script: [{ status, headers: { "retry-after": "1" } }, 204],
    });
    expect(waits(received)[0]).toBeGreaterThanOrEqual(1000);
  });

  test.concurrent("as a date is waited for", async () => {
    let at = 0;
    const inbox = subscriber.inbox("retry-after-date", ({ attempt }) => {
      if (attempt > 1) return 204;
      at = Math.ceil(Date.now() / 1000) * 1000 + 1000;
      return { status: 503, headers: { "retry-after": new Date(at).toUTCString() } };
    });
    let second = 0;
    const name = "retry-after-date";
    await mesh.serve(triggerManifest(name, { type: name, to: inbox.url, delivery: retry }));
    await ledger.accept({ id: name, type: name });
    await until(() => inbox.received.length === 2, { what: "the second attempt" });
    second = Date.now();
    expect(second).toBeGreaterThanOrEqual(at);
  });

  test.concurrent("never shortens the back-off", async () => {
    const { received } = await deliver("retry-after-short", {
      delivery: { retry: 1, backoffPolicy: "linear", backoffDelay: "PT1S" },
      script: [{ status: 503, headers: { "retry-after": "0" } }, 204],
    });
    expect(waits(received)[0]).toBeGreaterThanOrEqual(1000);
  });

  test.concurrent.each([
    ["is cut to retryAfterMax", 503, "3600", { retryAfterMax: "PT0.1S" }],
    ["is ignored with retryAfterMax PT0S", 429, "3600", { retryAfterMax: "PT0S" }],
    ["is ignored on other statuses", 500, "3600", {}],
    ["is ignored when it cannot be read", 503, "in a while", {}],
  ])("%s", async (what, status, header, more) => {
    const { received, delivered } = await deliver(`retry-after ${what}`.toLowerCase().replaceAll(" ", "-"), {
      delivery: { ...retry, ...more },
      script: [{ status, headers: { "retry-after": header } }, 204],
    });
    expect({ attempts: received.length, delivered }).toEqual({ attempts: 2, delivered: 1 });
  });
});

describe("inheritance", () => {
  const sinkOf = (name: string) => subscriber.inbox(`sink-${name}`);

  test.concurrent("a trigger without delivery has its broker's", async () => {
    const sink = sinkOf("broker");
    await mesh.serve(
      brokerManifest("b17", { spec: { delivery: { retry: 3, ...soon, deadLetterSink: { uri: sink.url } } } }),
    );
    const three = await deliver("fails-three-times", { broker: "b17", script: [500, 500, 500, 204] });
    const four = await deliver("fails-four-times", { broker: "b17", script: [500, 500, 500, 500, 204] });
    expect([three.received.length, three.delivered, three.dead]).toEqual([4, 1, 0]);
    expect([four.received.length, four.delivered, four.dead]).toEqual([4, 0, 1]);
    expect(sink.accepted()).toEqual(["fails-four-times"]);
  });

  test.concurrent("an empty delivery means no retries, and only the sink falls back to the broker's", async () => {
    const sink = sinkOf("fallback");
    await mesh.serve(
      brokerManifest("b-empty", {
        spec: { delivery: { retry: 3, ...soon, deadLetterSink: { uri: sink.url } } },
      }),
    );
    const { received, dead } = await deliver("empty-delivery", {
      broker: "b-empty",
      delivery: {},
      script: [500],
    });
    expect({ attempts: received.length, dead }).toEqual({ attempts: 1, dead: 1 });
    expect(sink.accepted()).toEqual(["empty-delivery"]);
  });

  test.concurrent("a trigger's sink wins over its broker's", async () => {
    const [own, brokers] = [sinkOf("own"), sinkOf("brokers")];
    await mesh.serve(
      brokerManifest("b20", {
        spec: { delivery: { retry: 1, ...soon, deadLetterSink: { uri: brokers.url } } },
      }),
    );
    const { received } = await deliver("own-sink", {
      broker: "b20",
      delivery: { retry: 3, ...soon, deadLetterSink: { uri: own.url } },
      script: [500],
    });
    await deliver("brokers-sink", { broker: "b20", script: [500] });
    expect(received).toHaveLength(4);
    expect([own.accepted(), brokers.accepted()]).toEqual([["own-sink"], ["brokers-sink"]]);
  });
});
