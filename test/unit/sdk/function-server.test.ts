import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { FunctionServer } from "../../../src/mesh/sdk/function-server.ts";
import { until } from "../../support/until.ts";

let dir: string;
const running: FunctionServer[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "weft-sdk-"));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.drain()));
});
afterAll(() => rm(dir, { recursive: true }));

let files = 0;

async function serve(
  source: string,
  { timeoutMs = 10_000, token, ingressUrl }: { timeoutMs?: number; token?: string; ingressUrl?: string } = {},
) {
  const file = join(dir, `function-${files++}.mjs`);
  await writeFile(file, source);
  const lines: Record<string, unknown>[] = [];
  const pending: number[] = [];
  const server = new FunctionServer({
    clock: systemClock,
    writeLine: (line) => lines.push(JSON.parse(line)),
    onPending: (count) => pending.push(count),
  });
  running.push(server);
  const url = `http://127.0.0.1:${await server.listen(0, "127.0.0.1")}`;
  const identity = { namespace: "default", name: "price", revision: "price-00001", instance: "i1" };
  const load = server.load(file, { identity, token, timeoutMs, ingressUrl, environment: { GREETING: "hi" } });
  return { server, url, lines, pending, load };
}

const eventHeaders = {
  "ce-specversion": "1.0",
  "ce-id": "1",
  "ce-source": "/shop",
  "ce-type": "order.placed",
  "content-type": "application/json",
  connection: "close",
};

async function post(
  url: string,
  { headers = {}, body = '{"n":1}' }: { headers?: Record<string, string>; body?: string } = {},
) {
  const response = await fetch(url, { method: "POST", headers: { ...eventHeaders, ...headers }, body });
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    text: await response.text(),
  };
}

describe("FunctionServer", () => {
  test("must refuse until it is loaded", async () => {
    const gate = join(dir, "gate");
    const { url, load } = await serve(`
      import { existsSync } from "node:fs";
      while (!existsSync(${JSON.stringify(gate)})) await new Promise((resolve) => setTimeout(resolve, 5));
      export default () => {};`);
    expect((await post(url)).status).toBe(503);
    await writeFile(gate, "");
    await load;
    expect((await post(url)).status).toBe(200);
  });

  test("must hand the handler the event and its context", async () => {
    const { url, load } = await serve(`
      export const reply = "order.seen";
      export default (event, ctx) => ({
        event, attempt: ctx.attempt, trigger: ctx.trigger, service: ctx.service,
        left: ctx.deadline - Date.now() > 5000, header: ctx.headers.get("x-test"),
      });`);
    await load;
    const answer = await post(url, {
      headers: {
        "x-test": "yes",
        "weft-attempt": "3",
        "weft-trigger": "default/orders",
        "weft-broker": "default/main",
      },
    });
    expect(answer.headers).toMatchObject({
      "ce-type": "order.seen",
      "ce-causationid": "1",
      "ce-source": "/namespaces/default/functions/price",
      "content-type": "application/json",
    });
    expect(JSON.parse(answer.text)).toMatchObject({
      event: { id: "1", source: "/shop", type: "order.placed", data: { n: 1 } },
      attempt: 3,
      trigger: { namespace: "default", name: "orders", broker: "main" },
      service: { name: "price", revision: "price-00001", instance: "i1" },
      left: true,
      header: "yes",
    });
  });

  test("must read structured events", async () => {
    const { url, load } = await serve("export default (event) => event.data.n + 1;");
    await load;
    const body = JSON.stringify({ specversion: "1.0", id: "1", source: "/s", type: "t", data: { n: 41 } });
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/cloudevents+json", connection: "close" },
      body,
    });
    expect(await response.text()).toBe("42");
  });

  test.each([
    { name: "an invalid event", headers: { "ce-source": "" }, body: "{}" },
    { name: "data that is no JSON", headers: {}, body: "{" },
  ])("must answer 400 to $name", async ({ headers, body }) => {
    const { url, load } = await serve("export default () => {};");
    await load;
    expect((await post(url, { headers, body })).status).toBe(400);
  });

  test("must answer plain HTTP from the same handler", async () => {
    const { url, load } = await serve(
      "export default (event) => ({ type: event.type, path: event.subject, ...event.data });",
    );
    await load;
    const response = await fetch(`${url}/a?b=1`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: '{"n":1}',
    });
    expect(await response.json()).toEqual({ type: "dev.weft.http.request", path: "/a?b=1", n: 1 });
  });

  test("must serve fetch functions with their environment", async () => {
    const { url, load } = await serve(`export default {
      async fetch(request, env) {
        return new Response(env.GREETING + " " + (await request.text()), { status: 201, headers: { "x-a": "b" } });
      } };`);
    await load;
    const response = await fetch(url, { method: "POST", body: "you", headers: { connection: "close" } });
    expect([response.status, response.headers.get("x-a"), await response.text()]).toEqual([
      201,
      "b",
      "hi you",
    ]);
  });

  test.each([
    { name: "an empty Response", value: "new Response(null, { status: 202 })", status: 202, reply: false },
    {
      name: "a Response that is an event",
      value:
        'new Response("{}", { headers: { "ce-specversion": "1.0", "ce-id": "9", "ce-source": "/s", "ce-type": "t", "content-type": "application/json" } })',
      status: 200,
      reply: true,
    },
    { name: "a Response with plain data", value: "Response.json({ a: 1 })", status: 200, reply: true },
    {
      name: "a Response that says no",
      value: 'new Response("no", { status: 409 })',
      status: 409,
      reply: false,
    },
    {
      name: "a Response with a broken event",
      value: 'new Response("{}", { headers: { "ce-specversion": "1.0" } })',
      status: 500,
      reply: false,
    },
    {
      name: "an event with a bad attribute",
      value: '{ specversion: "1.0", type: "t", Bad: 1 }',
      status: 500,
      reply: false,
    },
    { name: "data that JSON cannot hold", value: "{ n: 1n }", status: 500, reply: false },
  ])("must answer an event with $name by $status", async ({ value, status, reply }) => {
    const { url, load } = await serve(`export default () => (${value});`);
    await load;
    const answer = await post(url);
    expect(answer.status).toBe(status);
    expect("ce-type" in answer.headers).toBe(reply);
  });

  test("must reject data that fails the declared input", async () => {
    const { url, load } = await serve(`export default {
      input: { parse() { throw Object.assign(new Error("bad"), { name: "ZodError", issues: [{ path: ["n"], message: "too small" }] }); } },
      handle() {},
    };`);
    await load;
    expect(await post(url)).toMatchObject({ status: 422, text: expect.stringContaining("n: too small") });
  });

  test("must answer 504 at the deadline and abort the signal", async () => {
    const { url, load, lines } = await serve(`export default (event, ctx) => new Promise((_, reject) => {
      ctx.signal.addEventListener("abort", () => { ctx.log.info("aborted"); reject(ctx.signal.reason); });
    });`);
    await load;
    const answer = await post(url, { headers: { "weft-deadline": String(Date.now() + 100) } });
    expect(answer.status).toBe(504);
    expect(lines).toContainEqual(expect.objectContaining({ msg: "aborted", event: "1" }));
  });

  test("must let waitUntil work go on after the answer, and report it", async () => {
    const { url, load, pending, lines, server } = await serve(`
      let finish;
      export const shutdown = () => console.error;
      export default (event, ctx) => {
        if (event.data.n === 2) return finish();
        ctx.waitUntil(new Promise((r) => { finish = () => { ctx.log.info("finished"); r(); }; }));
      };`);
    await load;
    expect((await post(url)).status).toBe(200);
    expect(pending).toEqual([1]);
    expect((await post(url, { body: '{"n":2}' })).status).toBe(200);
    await until(() => pending.at(-1) === 0);
    await server.drain();
    expect(lines.map((line) => line.msg)).toEqual(["finished"]);
  });

  test("drain must wait for requests in flight, then run shutdown", async () => {
    const { url, load, server, lines } = await serve(`
      import { writeFileSync } from "node:fs";
      let log;
      export const shutdown = () => log.info("shut down");
      export default async (event, ctx) => { log = ctx.log; ctx.log.info("began"); await new Promise((r) => setTimeout(r, 150)); ctx.log.info("ended"); };`);
    await load;
    const answer = post(url);
    await until(() => lines.length > 0);
    await server.drain();
    expect(lines.map((line) => line.msg)).toEqual(["began", "ended", "shut down"]);
    expect((await answer).status).toBe(200);
  });

  test("must refuse requests without the instance's token", async () => {
    const { url, load } = await serve(
      "export default (event, ctx) => ({ seen: ctx.headers.get('weft-instance-token') });",
      { token: "secret" },
    );
    await load;
    expect((await post(url)).status).toBe(403);
    const answer = await post(url, { headers: { "weft-instance-token": "secret" } });
    expect(JSON.parse(answer.text)).toEqual({ seen: null });
  });

  test("must answer health checks from the function's own", async () => {
    const { url, load } = await serve("export const alive = () => false; export default () => {};");
    await load;
    const check = async (path: string) =>
      (await fetch(url + path, { headers: { connection: "close" } })).status;
    expect([await check("/health/liveness"), await check("/health/readiness")]).toEqual([503, 200]);
  });

  test("ctx.emit must post to the event's broker, with stable ids, and reject when it is not stored", async () => {
    const seen: { url: string | undefined; id: unknown; type: unknown }[] = [];
    const ingress = createServer((request, response) => {
      seen.push({ url: request.url, id: request.headers["ce-id"], type: request.headers["ce-type"] });
      response.writeHead(request.url === "/default/main" ? 202 : 404).end("no such broker");
    });
    await once(ingress.listen(0, "127.0.0.1"), "listening");
    const { url, load } = await serve(
      `export default async (event, ctx) => {
        await ctx.emit({ type: "a" });
        await ctx.emit({ type: "b" });
        await ctx.emit({ type: "c" }, { broker: "other" });
      };`,
      { ingressUrl: `http://127.0.0.1:${(ingress.address() as AddressInfo).port}` },
    );
    await load;
    const first = await post(url, { headers: { "weft-broker": "default/main" } });
    await post(url, { headers: { "weft-broker": "default/main" } });
    ingress.closeAllConnections();
    ingress.close();
    expect(first).toMatchObject({ status: 500, text: expect.stringContaining("404: no such broker") });
    expect(seen.map((one) => `${one.type} ${one.url}`).slice(0, 3)).toEqual([
      "a /default/main",
      "b /default/main",
      "c /default/other",
    ]);
    expect(new Set(seen.map((one) => one.id)).size).toBe(3);
  });

  test("must run an unmodified func project", async () => {
    const { url, load } = await serve(`
      const handle = async (context, event) => {
        context.log.info("hello");
        return context.cloudEventResponse({ got: event.data.n, method: context.method }).type("done").source("/fn").response();
      };
      export const knativeProject = { default: { handle } };`);
    await load;
    const answer = await post(url);
    expect(answer.headers).toMatchObject({ "ce-type": "done", "ce-source": "/fn" });
    expect(JSON.parse(answer.text)).toEqual({ got: 1, method: "POST" });
  });

  test("a func project's statusCode result must answer plain HTTP, with the body first", async () => {
    const { url, load } = await serve(
      "export const knativeProject = { handle: (context, body) => ({ statusCode: 201, body: { ...body, q: context.query.q } }) };",
    );
    await load;
    const response = await fetch(`${url}/?q=7`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: '{"n":1}',
    });
    expect([response.status, await response.json()]).toEqual([201, { n: 1, q: "7" }]);
  });
});
