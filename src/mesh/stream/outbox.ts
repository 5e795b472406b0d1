/**
 * Gathers what is published within one turn of the event loop, so that it leaves in one write: requests and
 * answers come in one by one, each in a tick of its own, and the system call costs more than all the rest.
 *
 * O1  order is kept; nothing waits longer than the turn it was sent in.
 * O2  what the client refuses is told to the sender of that message alone.
 */
import type { NatsConnection, PublishOptions } from "@nats-io/nats-core";

interface Outgoing {
  readonly subject: string;
  readonly payload: Uint8Array | string;
  readonly options: PublishOptions | undefined;
  readonly onRefused: ((cause: unknown) => void) | undefined;
}

const outboxes = new WeakMap<NatsConnection, Outbox>();

/** The one outbox of a connection. */
export function outboxOf(nc: NatsConnection): Outbox {
  const known = outboxes.get(nc);
  if (known !== undefined) return known;
  const outbox = new Outbox(nc);
  outboxes.set(nc, outbox);
  return outbox;
}

export class Outbox {
  readonly #nc: NatsConnection;
  #waiting: Outgoing[] = [];
  #scheduled = false;

  constructor(nc: NatsConnection) {
    this.#nc = nc;
  }

  /** Fire and forget, save for `onRefused` (the message is too large, the connection is closed). */
  send(
    subject: string,
    payload: Uint8Array | string,
    options?: PublishOptions,
    onRefused?: (cause: unknown) => void,
  ): void {
    this.#waiting.push({ subject, payload, options, onRefused });
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  /** Sends at once; before the connection closes. */
  flush(): void {
    this.#scheduled = false;
    const sending = this.#waiting;
    this.#waiting = [];
    for (const { subject, payload, options, onRefused } of sending) {
      try {
        this.#nc.publish(subject, payload, options);
      } catch (cause) {
        onRefused?.(cause);
      }
    }
  }
}
