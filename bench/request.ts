/**
 * What a round trip through the mesh costs: request and reply over HTTP and over NATS, beside a raw NATS request
 * and a direct HTTP call to the same subscriber, all in one run. One line per row; ratios are to the direct call.
 *
 *     npm run bench -- request --seconds 3
 */
import { connect, type NatsConnection, headers as natsHeaders } from "@nats-io/transport-node";
import { Pool } from "undici";
import { startSink } from "./arrival.ts";
import { type Figure, figuresOf, reportFigures } from "./figure.ts";
import { Histogram } from "./histogram.ts";
import { startWeft } from "./target.ts";

const seconds = Number(process.argv[2] ?? 3);
const warmUpSeconds = 1;
const concurrencies = [1, 64];
const type = "com.example.bench.request";
const body = Buffer.from(JSON.stringify({ order: "A-1001", note: "x".repeat(1000) }));

/** One exchange; resolves once the answer is read. */
type Exchange = (id: string) => Promise<void>;

interface Measured {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

let nextId = 0;

async function measure(exchange: Exchange, concurrency: number): Promise<Measured> {
  await run(exchange, { concurrency, forSeconds: warmUpSeconds });
  return run(exchange, { concurrency, forSeconds: seconds });
}

async function run(
  exchange: Exchange,
  { concurrency, forSeconds }: { concurrency: number; forSeconds: number },
): Promise<Measured> {
  const latency = new Histogram();
  const started = performance.now();
  const lane = async () => {
    while (performance.now() - started < forSeconds * 1000) {
      const sent = performance.now();
      await exchange(`${process.pid}-${nextId++}`);
      latency.add((performance.now() - sent) * 1000);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  const { count, p50, p99 } = latency.summary();
  return { perSecond: Math.round(count / ((performance.now() - started) / 1000)), p50, p99 };
}

function eventHeaders(id: string): Record<string, string> {
  return { "ce-specversion": "1.0", "ce-id": id, "ce-source": "/bench", "ce-type": type };
}

function post(url: string, more: Readonly<Record<string, string>>): Exchange {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, { connections: Math.max(...concurrencies), pipelining: 1 });
  return async (id) => {
    const { statusCode, body: answer } = await pool.request({
      path: pathname,
      method: "POST",
      headers: { ...eventHeaders(id), "content-type": "application/json", ...more },
      body,
    });
    await answer.dump();
    if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`);
  };
}

function ask(nc: NatsConnection, subject: string): Exchange {
  return async (id) => {
    const headers = natsHeaders();
    for (const [name, value] of Object.entries(eventHeaders(id))) headers.set(name, value);
    const answer = await nc.request(subject, body, { headers, timeout: 30_000 });
    const error = answer.headers?.get("Nats-Service-Error");
    if (error) throw new Error(error);
  };
}

const sink = await startSink({ reply: `${type}.reply` });
const weft = await startWeft();
const { host, username } = new URL(weft.natsUrl);
const login = { servers: host, token: decodeURIComponent(username) };
const [asking, answering] = [await connect(login), await connect(login)];
answering.subscribe("bench.echo", { callback: (_, msg) => void msg.respond(msg.data) });
await weft.apply(`
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: bench-request}
spec:
  broker: default
  filters: [{exact: {type: ${type}}}]
  subscriber: {uri: "${sink.url}"}
`);
const rows: readonly (readonly [string, Exchange])[] = [
  ["raw NATS request", ask(asking, "bench.echo")],
  ["direct HTTP call", post(sink.url, {})],
  ["weft, HTTP Prefer: wait", post(weft.url, { prefer: "wait=30" })],
  ["weft, NATS request", ask(asking, `weft.rq.default.default.${type}`)],
];
const figures: Figure[] = [];
for (const concurrency of concurrencies) {
  process.stdout.write(
    `\nrequest and reply, ${concurrency} at a time:   per second   p50 ms   p99 ms   p50 of direct\n`,
  );
  const measured: (Measured & { name: string })[] = [];
  for (const [name, exchange] of rows) measured.push({ name, ...(await measure(exchange, concurrency)) });
  const direct = measured[1]?.p50 ?? Number.NaN;
  for (const { name, perSecond, p50, p99 } of measured) {
    figures.push(
      ...figuresOf({ part: "request", name: `${name}, ${concurrency} at a time` }, [
        ["per second", "more", perSecond],
        ["p50 ms", "less", p50],
        ["p99 ms", "less", p99],
        ["p50/limit", "less", p50 / direct],
      ]),
    );
    const ratio = `${(p50 / direct).toFixed(1)}×`;
    process.stdout.write(
      `  ${name.padEnd(36)} ${String(perSecond).padStart(10)} ${String(p50).padStart(8)} ${String(p99).padStart(8)} ${ratio.padStart(10)}\n`,
    );
  }
}
await Promise.all([asking.close(), answering.close(), weft.stop(), sink.process.stop()]);
await reportFigures(figures);
process.exit(0);
