/**
 * Answers who waits, from the dispatcher's side: first the ending is stored, then it is sent by core NATS to the
 * inbox the token names, in whatever process that is. Settling a delivery again does the same again.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Event } from "../event/event.ts";
import { removeHops } from "../event/hops.ts";
import { outboxOf, type RawHeaders } from "../stream/outbox.ts";
import type { PubAck, Publisher } from "../stream/publish.ts";
import { encodeStored } from "../stream/stored-event.ts";
import type { BrokerKey } from "../stream/subjects.ts";
import { addressBeyond, inboxOf, type ReplyAddress } from "./address.ts";
import { type Dead, placeOf, writeEnding, writeProgress } from "./ending.ts";
import { encodeDead } from "./wire.ts";

export interface ResponderParts {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly publisher: Publisher;
}

export class Responder {
  readonly #parts: ResponderParts;

  constructor(parts: ResponderParts) {
    this.#parts = parts;
  }

  /** A reply to an event of this request is stored. Rejects when the ending could not be; then do it again. */
  async replied(
    address: ReplyAddress,
    { broker, reply, ack }: { broker: BrokerKey; reply: Event; ack: PubAck & { readonly delayed?: true } },
  ): Promise<void> {
    const { token } = address;
    if (addressBeyond(address, reply.attributes.type) !== undefined) {
      // It only tells who asks where the request is: not worth another delivery.
      if (ack.delayed !== true) {
        await writeProgress(this.#parts.publisher, token, {
          place: placeOf(broker, ack.sequence),
          first: false,
        }).catch(() => {});
      }
      return;
    }
    // A reply that itself waits for a later moment has no place yet: it is told, not kept.
    const counts =
      ack.delayed === true ||
      (await writeEnding(this.#parts, token, { kind: "reply", ...placeOf(broker, ack.sequence) }));
    if (!counts) return;
    const { headers, payload } = encodeStored(removeHops(reply).event);
    this.#send(token, payload, headers);
  }

  /** This event is the reply, whoever says so. Rejects when the ending could not be stored; then do it again. */
  async told(token: string, event: Event): Promise<void> {
    const ending = { kind: "copy", event: removeHops(event).event } as const;
    if (!(await writeEnding(this.#parts, token, ending))) return;
    const { headers, payload } = encodeStored(ending.event);
    this.#send(token, payload, headers);
  }

  /** An event of this request is a dead letter. Rejects when the ending could not be stored. */
  async died({ token }: ReplyAddress, dead: Omit<Dead, "kind">): Promise<void> {
    const ending: Dead = { kind: "dead", ...dead };
    if (!(await writeEnding(this.#parts, token, ending))) return;
    const { headers, payload } = encodeDead(ending);
    this.#send(token, payload, headers);
  }

  #send(token: string, payload: Uint8Array, headers: RawHeaders): void {
    outboxOf(this.#parts.nc).send(inboxOf(token), payload, { headers });
  }
}
