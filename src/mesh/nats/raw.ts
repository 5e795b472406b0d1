/**
 * What nats.js does for every message and weft can do cheaper: frames are written as bytes made at once for all
 * messages of a turn, headers are read without a map of lists. The one place that reaches behind its interface;
 * login, TLS, reconnecting and reading the stream of bytes stay with it.
 */
import { Socket } from "node:net";
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { MsgImpl, NatsConnectionImpl } from "@nats-io/nats-core/internal";
import { HeaderBlock, noHeaders } from "./header-block.ts";

/** Hands whole protocol frames to the connection; it sends them at the end of this turn, after what it has already. */
export function writeFrames(nc: NatsConnection, frames: Uint8Array): void {
  if (!(nc instanceof NatsConnectionImpl)) throw new Error("bug: not a connection of nats.js");
  nc.protocol.sendCommand(frames);
}

/** Whether all frames handed over so far are with the system, so that their bytes are nobody's any more. */
export function areWritten(nc: NatsConnection): boolean {
  if (!(nc instanceof NatsConnectionImpl)) return false;
  const { outbound, transport } = nc.protocol;
  const socket = "socket" in transport && transport.socket instanceof Socket ? transport.socket : undefined;
  return outbound.size() === 0 && socket?.writableLength === 0;
}

/** The headers of a message that came over a subscription. */
export function headerBlockOf(msg: Msg): HeaderBlock {
  if (!(msg instanceof MsgImpl)) throw new Error("bug: not a message of nats.js");
  const { hdr } = msg._msg;
  if (hdr < 0) return noHeaders;
  const bytes = msg._rdata;
  return new HeaderBlock(Buffer.from(bytes.buffer, bytes.byteOffset, hdr).toString("utf8"));
}
