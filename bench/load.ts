/**
 * The load generator, a process of its own: POSTs CloudEvents to any URL that takes them. Closed loop (so many
 * connections, each waits for its answer) or open loop (a fixed rate, whatever the answers do: latencies count
 * from when a request was due, so nothing hides in the queue).
 *
 *     node bench/load.ts '{"url":"http://127.0.0.1:8080/default/default","seconds":5}'
 */
import { createConnection, type Socket } from "node:net";
import { z } from "zod";
import { Histogram, type Latency } from "./histogram.ts";
import { MessageReader, nowUs, RequestTemplate } from "./wire.ts";

export const loadSchema = z.object({
  url: z.string(),
  connections: z.number().int().min(1).default(64),
  seconds: z.number().min(0.1).default(5),
  /** Requests per second; absent is closed loop. */
  rate: z.number().min(1).optional(),
  /** Stop after so many requests instead. */
  requests: z.number().int().min(1).optional(),
  mode: z.enum(["binary", "structured", "batch"]).default("binary"),
  size: z.number().int().min(10).default(1024),
  batch: z.number().int().min(1).default(50),
  /** Several types are sent in turn. */
  types: z.array(z.string()).default(["com.example.bench"]),
});
export type LoadOptions = z.input<typeof loadSchema>;

export interface LoadResult {
  readonly events: number;
  readonly refused: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Of requests, milliseconds. */
  readonly latency: Latency;
  readonly statuses: Readonly<Record<string, number>>;
}

/** In-flight requests an open loop may have before it drops behind visibly instead of exhausting memory. */
const openLoopInFlightMax = 20_000;
const tickMs = 1;

export async function generate(input: LoadOptions): Promise<LoadResult> {
  const options = loadSchema.parse(input);
  const url = new URL(options.url);
  const templates = options.types.map((type) => new RequestTemplate(url, { ...options, type }));
  const run = new Run(templates, options.requests ?? Number.POSITIVE_INFINITY);
  const connections = await Promise.all(
    Array.from({ length: options.connections }, () => Connection.open(url, run)),
  );
  const startedUs = nowUs();
  const endUs = startedUs + options.seconds * 1e6;
  if (options.rate === undefined)
    for (const connection of connections) connection.loop(() => nowUs() < endUs);
  else await openLoop(run, { connections, rate: options.rate, startedUs, endUs });
  await run.drained(endUs + 30e6);
  const seconds = (Math.min(run.lastUs, nowUs()) - startedUs) / 1e6;
  for (const connection of connections) connection.close();
  return run.result(seconds);
}

class Run {
  readonly #templates: readonly RequestTemplate[];
  readonly #latency = new Histogram();
  readonly #statuses = new Map<string, number>();
  readonly #prefix = `${process.pid.toString(36)}${Math.floor(nowUs() % 1e9).toString(36)}-`;
  readonly #requestsMax: number;
  #sent = 0;
  #answered = 0;
  #events = 0;
  #refused = 0;
  #ids = 0;
  lastUs = 0;

  constructor(templates: readonly RequestTemplate[], requestsMax: number) {
    this.#templates = templates;
    this.#requestsMax = requestsMax;
  }

  get inFlight(): number {
    return this.#sent - this.#answered;
  }

  get isSpent(): boolean {
    return this.#sent >= this.#requestsMax;
  }

  next(dueUs: number): { bytes: Buffer; events: number } {
    const template = this.#templates[this.#sent++ % this.#templates.length] as RequestTemplate;
    const ids = Array.from(
      { length: template.eventsPerRequest },
      () => this.#prefix + (this.#ids++).toString(36),
    );
    return { bytes: template.request(ids, dueUs), events: template.eventsPerRequest };
  }

  answered(status: string, events: number, dueUs: number): void {
    this.lastUs = nowUs();
    this.#answered++;
    this.#latency.add(this.lastUs - dueUs);
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
    if (status.startsWith("2")) this.#events += events;
    else this.#refused += events;
  }

  async drained(untilUs: number): Promise<void> {
    while (this.inFlight > 0 && nowUs() < untilUs) await new Promise((resolve) => setTimeout(resolve, 5));
    // A closed loop starts its last requests up to the very end.
    await new Promise((resolve) => setTimeout(resolve, 20));
    while (this.inFlight > 0 && nowUs() < untilUs) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  result(seconds: number): LoadResult {
    return {
      events: this.#events,
      refused: this.#refused,
      seconds,
      perSecond: Math.round(this.#events / seconds),
      latency: this.#latency.summary(),
      statuses: Object.fromEntries(this.#statuses),
    };
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #run: Run;
  readonly #waiting: { dueUs: number; events: number }[] = [];
  #keepGoing: () => boolean = () => false;

  private constructor(socket: Socket, run: Run) {
    this.#socket = socket;
    this.#run = run;
    const reader = new MessageReader((head) => this.#onAnswer(head));
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
    socket.on("close", () => this.#onClose());
    socket.on("error", () => {});
  }

  static open(url: URL, run: Run): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host: url.hostname, port: Number(url.port) || 80, noDelay: true });
      socket.once("connect", () => resolve(new Connection(socket, run)));
      socket.once("error", reject);
    });
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  loop(keepGoing: () => boolean): void {
    this.#keepGoing = keepGoing;
    this.#send();
  }

  send(dueUs: number): void {
    const { bytes, events } = this.#run.next(dueUs);
    this.#waiting.push({ dueUs, events });
    this.#socket.write(bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(): void {
    if (this.#keepGoing() && !this.#run.isSpent) this.send(nowUs());
  }

  #onAnswer(head: Buffer): void {
    const waited = this.#waiting.shift();
    if (waited === undefined) return;
    this.#run.answered(head.toString("latin1", 9, 12), waited.events, waited.dueUs);
    this.#send();
  }

  #onClose(): void {
    for (const { events, dueUs } of this.#waiting.splice(0)) this.#run.answered("closed", events, dueUs);
  }
}

interface OpenLoop {
  readonly connections: readonly Connection[];
  readonly rate: number;
  readonly startedUs: number;
  readonly endUs: number;
}

/** Sends what is due at every tick, over the connection that waits least. */
async function openLoop(run: Run, { connections, rate, startedUs, endUs }: OpenLoop): Promise<void> {
  let due = 0;
  let turn = 0;
  while (nowUs() < endUs && !run.isSpent) {
    const target = Math.floor(((nowUs() - startedUs) / 1e6) * rate) + 1;
    while (due < target && run.inFlight < openLoopInFlightMax) {
      const idle = connections.find((connection) => connection.waiting === 0);
      const connection = idle ?? connections[turn++ % connections.length];
      connection?.send(Math.round(startedUs + (due / rate) * 1e6));
      due++;
    }
    await new Promise((resolve) => setTimeout(resolve, tickMs));
  }
}

if (import.meta.main) {
  const result = await generate(JSON.parse(process.argv[2] ?? "{}"));
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}
