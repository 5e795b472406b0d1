/**
 * The load generator, a process of its own: POSTs CloudEvents to any URL that takes them. Closed loop (so many
 * connections, each waits for its answer) or open loop (a fixed rate, whatever the answers do: latencies count
 * from when a request was due, so nothing hides in the queue).
 *
 *     node bench/load.ts '{"url":"http://127.0.0.1:8080/default/default","seconds":5}'
 */
import { createConnection, type Socket } from "node:net";
import { z } from "zod";
import { AnswerReader } from "./answer.ts";
import { nowUs } from "./clock.ts";
import { Histogram, type Latency } from "./histogram.ts";
import { untilDue } from "./pace.ts";
import { RequestTemplate } from "./template.ts";

export const loadSchema = z.object({
  url: z.string(),
  connections: z.number().int().min(1).default(64),
  seconds: z.number().min(0.1).default(5),
  /** Events per second; absent is closed loop. */
  rate: z.number().min(1).optional(),
  mode: z.enum(["binary", "structured", "batch"]).default("binary"),
  size: z.number().int().min(10).default(1024),
  batch: z.number().int().min(1).default(50),
  /** Several types are sent in turn. */
  types: z.array(z.string()).default(["com.example.bench"]),
});
export type LoadOptions = z.input<typeof loadSchema>;

export interface LoadResult {
  /** Answered with 2xx. */
  readonly events: number;
  readonly refused: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Of requests, milliseconds. */
  readonly latency: Latency;
  /** Of an open loop: how much later than due requests were sent. It is part of every latency. */
  readonly lateness: Latency;
  /** Requests by the status of their answer. */
  readonly statuses: Readonly<Record<string, number>>;
  /** CPU time of the generator per request. */
  readonly cpuUs: number;
  /** CPU time of the generator as a share of the time the load took: 1 is a whole core. */
  readonly busy: number;
  /** The most memory it ever held. */
  readonly peakMb: number;
}

/** In-flight requests an open loop may have before it drops behind visibly instead of exhausting memory. */
const openLoopInFlightMax = 20_000;
/** How long the last answers may take. */
const drainUs = 30e6;
/** More than any answer needs; a longer one comes in several reads. */
const readBytes = 64 * 1024;
/** Instead of a status: the connection closed before the answer. */
const closed = 0;

export async function generate(input: LoadOptions): Promise<LoadResult> {
  const options = loadSchema.parse(input);
  const url = new URL(options.url);
  const run = new Run(templatesFor(url, options));
  const connections = await Promise.all(
    Array.from({ length: options.connections }, () => Connection.open(url, run)),
  );
  const cpuBefore = process.cpuUsage();
  const startedUs = nowUs();
  const endUs = startedUs + options.seconds * 1e6;
  if (options.rate === undefined) for (const connection of connections) connection.loop(endUs);
  else await openLoop(run, { connections, rate: options.rate, startedUs, endUs });
  await run.drained(endUs + drainUs);
  const { user, system } = process.cpuUsage(cpuBefore);
  for (const connection of connections) connection.close();
  const doneUs = run.inFlight > 0 ? nowUs() : run.lastUs;
  return run.result({ seconds: (doneUs - startedUs) / 1e6, cpuUs: user + system });
}

function templatesFor(url: URL, { types, ...shape }: z.output<typeof loadSchema>): RequestTemplate[] {
  const run = `${process.pid.toString(36)}${(nowUs() % 1e9).toString(36)}`;
  return types.map((type, i) => new RequestTemplate(url, { ...shape, type, idPrefix: `${run}-${i}-` }));
}

/** What all connections share: whose turn it is, and what came of it. */
class Run {
  readonly eventsPerRequest: number;
  readonly #templates: readonly RequestTemplate[];
  readonly #latency = new Histogram();
  readonly #lateness = new Histogram();
  readonly #statuses = new Uint32Array(1000);
  #turn = 0;
  #sent = 0;
  #answered = 0;
  lastUs = 0;

  constructor(templates: readonly RequestTemplate[]) {
    this.#templates = templates;
    this.eventsPerRequest = templates[0]?.eventsPerRequest ?? 1;
  }

  get inFlight(): number {
    return this.#sent - this.#answered;
  }

  send(socket: Socket, dueUs: number): void {
    const template = this.#templates[this.#turn] as RequestTemplate;
    this.#turn = (this.#turn + 1) % this.#templates.length;
    this.#sent++;
    socket.write(template.next(dueUs));
    // What the kernel did not take yet must stay as it is.
    if (socket.writableLength > 0) template.detach();
  }

  sentLate(lateUs: number): void {
    this.#lateness.add(lateUs);
  }

  answered(status: number, { dueUs, atUs }: { dueUs: number; atUs: number }): void {
    this.lastUs = atUs;
    this.#answered++;
    this.#latency.add(atUs - dueUs);
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
  }

  async drained(untilUs: number): Promise<void> {
    // A closed loop starts its last requests up to the very end.
    do await new Promise((resolve) => setTimeout(resolve, 20));
    while (this.inFlight > 0 && nowUs() < untilUs);
  }

  result({ seconds, cpuUs }: { seconds: number; cpuUs: number }): LoadResult {
    const counted = [...this.#statuses.entries()].filter(([, count]) => count > 0);
    const requests = counted.reduce((sum, [, count]) => sum + count, 0);
    const good = counted.reduce((sum, [status, count]) => sum + (isGood(status) ? count : 0), 0);
    return {
      events: good * this.eventsPerRequest,
      refused: (requests - good) * this.eventsPerRequest,
      seconds,
      perSecond: Math.round((good * this.eventsPerRequest) / seconds),
      latency: this.#latency.summary(),
      lateness: this.#lateness.summary(),
      statuses: Object.fromEntries(
        counted.map(([status, count]) => [status === closed ? "closed" : status, count]),
      ),
      cpuUs: cpuUs / requests,
      busy: cpuUs / 1e6 / seconds,
      peakMb: Math.round(process.resourceUsage().maxRSS / 1024),
    };
  }
}

function isGood(status: number): boolean {
  return status >= 200 && status < 300;
}

class Connection {
  readonly #run: Run;
  readonly #socket: Socket;
  /** When the requests that wait for their answer were due, oldest first. */
  readonly #due: number[] = [];
  /** A closed loop goes on until then. */
  #untilUs = 0;

  private constructor(url: URL, run: Run) {
    this.#run = run;
    const answers = new AnswerReader((status) => this.#onAnswer(status));
    this.#socket = createConnection({
      host: url.hostname,
      port: Number(url.port) || 80,
      noDelay: true,
      // Without it every answer would get 64 KiB of fresh memory.
      onread: {
        buffer: readBuffer,
        callback: (length, bytes) => {
          answers.push(bytes, length);
          return true;
        },
      },
    });
    this.#socket.on("close", () => this.#onClose());
  }

  static open(url: URL, run: Run): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const connection = new Connection(url, run);
      connection.#socket.once("connect", () => resolve(connection));
      // Once it is open, an error is followed by the end of the connection, which is counted.
      connection.#socket.on("error", reject);
    });
  }

  get waiting(): number {
    return this.#due.length;
  }

  loop(untilUs: number): void {
    this.#untilUs = untilUs;
    this.send(nowUs());
  }

  send(dueUs: number): void {
    this.#due.push(dueUs);
    this.#run.send(this.#socket, dueUs);
  }

  close(): void {
    this.#socket.destroy();
  }

  #onAnswer(status: number): void {
    const dueUs = this.#due.shift();
    if (dueUs === undefined) throw new Error("an answer that nobody asked for");
    const atUs = nowUs();
    this.#run.answered(status, { dueUs, atUs });
    if (atUs < this.#untilUs) this.send(atUs);
  }

  #onClose(): void {
    for (const dueUs of this.#due.splice(0)) this.#run.answered(closed, { dueUs, atUs: nowUs() });
  }
}

/** One for all connections: a read is over before the next begins. */
const readBuffer = new Uint8Array(readBytes);

interface OpenLoop {
  readonly connections: readonly Connection[];
  readonly rate: number;
  readonly startedUs: number;
  readonly endUs: number;
}

/** Sends what is due over a connection that waits for nothing, if there is one. */
async function openLoop(run: Run, { connections, rate, startedUs, endUs }: OpenLoop): Promise<void> {
  const requestsPerSecond = rate / run.eventsPerRequest;
  const dueAt = (n: number) => Math.round(startedUs + (n / requestsPerSecond) * 1e6);
  let n = 0;
  while (dueAt(n) < endUs && nowUs() < endUs) {
    await untilDue(dueAt(n), requestsPerSecond);
    for (let now = nowUs(); dueAt(n) <= Math.min(now, endUs); now = nowUs()) {
      if (run.inFlight >= openLoopInFlightMax) break;
      const idle = connections.find((connection) => connection.waiting === 0);
      const connection = idle ?? connections[n % connections.length];
      run.sentLate(now - dueAt(n));
      connection?.send(dueAt(n));
      n++;
    }
  }
}

if (import.meta.main) {
  const result = await generate(JSON.parse(process.argv[2] ?? "{}"));
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}
