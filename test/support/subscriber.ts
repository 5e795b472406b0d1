/**
 * A real HTTP subscriber that does what a script says: records every request and answers, delays, hangs or cuts
 * the connection. One server, any number of inboxes, each at a path of its own.
 */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type CloudEventV1, HTTP } from "cloudevents";
import { systemClock } from "../../src/mesh/clock.ts";

export interface Received {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly id: string;
  readonly type: string;
  /** 1 for the first request that brought an event of this id. */
  readonly attempt: number;
  /** Whether a 2xx was sent in answer. */
  accepted: boolean;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly delayMs?: number;
  /** The answer begins and never ends. */
  readonly unfinished?: boolean;
}

/** A status, a whole answer, no answer until the subscriber closes, or a cut connection. */
export type Act = number | Reply | "hang" | "reset";
export type Script = (received: Received) => Act | Promise<Act>;

export interface Inbox {
  readonly url: string;
  readonly received: readonly Received[];
  /** The requests that brought the event `id`, oldest first. */
  of(id: string): readonly Received[];
  /** Ids of the events it accepted; one that came twice is there twice. */
  accepted(): string[];
  /** From now on the script is this. */
  follow(...script: readonly [Script] | readonly Act[]): void;
}

export interface Subscriber {
  /** An inbox. Acts are the answers to the attempts at one event, the last repeats; 204 when there are none. */
  inbox(name: string, ...script: readonly [Script] | readonly Act[]): Inbox;
  close(): Promise<void>;
}

/** `port` brings one back where it was; 0 is a free one. */
export async function startSubscriber({ port: wanted = 0 } = {}): Promise<Subscriber> {
  const inboxes = new Map<string, RecordingInbox>();
  const server = createServer((request, response) => {
    const inbox = inboxes.get(request.url ?? "");
    if (inbox === undefined) response.writeHead(410).end();
    else inbox.serve(request, response).catch(() => request.destroy());
  });
  server.listen(wanted, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    inbox(name, ...script) {
      if (inboxes.has(`/${name}`)) throw new Error(`there is an inbox ${name} already`);
      const inbox = new RecordingInbox(`http://127.0.0.1:${port}/${name}`);
      inbox.follow(...script);
      inboxes.set(`/${name}`, inbox);
      return inbox;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Reads the event with the CloudEvents project's own library, as an independent judge of what weft sends. */
export function eventOf({ headers, body }: Pick<Received, "headers" | "body">): CloudEventV1<unknown> {
  const event = HTTP.toEvent<unknown>({
    headers: headers as Record<string, string>,
    body: body.toString("utf8"),
  });
  if (Array.isArray(event)) throw new Error("a batch was sent");
  return event as CloudEventV1<unknown>;
}

/** Milliseconds between successive requests. */
export function waits(received: readonly Received[]): number[] {
  return received.slice(1).map(({ at }, i) => at - (received[i]?.at ?? at));
}

class RecordingInbox implements Inbox {
  readonly url: string;
  readonly received: Received[] = [];
  #script: Script = () => 204;

  constructor(url: string) {
    this.url = url;
  }

  of(id: string): readonly Received[] {
    return this.received.filter((each) => each.id === id);
  }

  accepted(): string[] {
    return this.received.filter(({ accepted }) => accepted).map(({ id }) => id);
  }

  follow(...script: readonly [Script] | readonly Act[]): void {
    const [first] = script;
    if (typeof first === "function") this.#script = first;
    else {
      const acts = script as readonly Act[];
      this.#script = ({ attempt }) => acts[attempt - 1] ?? acts.at(-1) ?? 204;
    }
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = systemClock.monotonic();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const received = this.#record(request.headers, Buffer.concat(chunks), at);
    const act = await this.#script(received);
    if (act === "hang") return;
    if (act === "reset") {
      request.socket.resetAndDestroy();
      return;
    }
    const reply: Reply = typeof act === "number" ? { status: act } : act;
    const { status = 200, headers = {}, body = "", delayMs = 0, unfinished = false } = reply;
    if (delayMs > 0) await systemClock.sleep(delayMs);
    if (response.destroyed) return;
    response.writeHead(status, headers);
    if (unfinished) {
      response.write(body);
      return;
    }
    received.accepted = status >= 200 && status < 300;
    response.end(body);
  }

  #record(headers: IncomingHttpHeaders, body: Buffer, at: number): Received {
    const { id, type } = identityOf(headers, body);
    const attempt = this.of(id).length + 1;
    const received: Received = { at, headers, body, id, type, attempt, accepted: false };
    this.received.push(received);
    return received;
  }
}

function identityOf(headers: IncomingHttpHeaders, body: Buffer): { id: string; type: string } {
  if (headers["content-type"]?.startsWith("application/cloudevents+json")) {
    const { id, type } = JSON.parse(body.toString("utf8"));
    return { id, type };
  }
  return { id: `${headers["ce-id"]}`, type: `${headers["ce-type"]}` };
}
