/**
 * What nats.js does for every message and weft can do cheaper: frames are written as bytes made at once for all
 * messages of a turn and read as wholes, headers are read without a map of lists. Only this folder reaches behind
 * its interface; login, TLS, reconnecting and subscriptions stay with it.
 */
import { Socket } from "node:net";
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { MsgImpl, NatsConnectionImpl } from "@nats-io/nats-core/internal";
import { bufferOf, FrameParser, MessageLine } from "./frame-parser.ts";
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

/** From the next frame on, and after every reconnect, what comes in is read by a FrameParser. */
export function readFrames(nc: NatsConnection): void {
  if (!(nc instanceof NatsConnectionImpl)) throw new Error("bug: not a connection of nats.js");
  const { protocol } = nc;
  let parser = new FrameParser(protocol, protocol.parser);
  Object.defineProperty(protocol, "parser", {
    get: () => parser,
    // nats.js makes one for each of its connections to a server.
    set: () => {
      parser = new FrameParser(protocol);
    },
  });
}

/** `msg.subject`, without decoding it again. */
export function subjectOf(msg: Msg): string {
  return lineOf(msg)?.subjectText ?? msg.subject;
}

/** `msg.reply`, without decoding it again; empty when there is none. */
export function replyOf(msg: Msg): string {
  return lineOf(msg)?.replyText ?? msg.reply ?? "";
}

function lineOf(msg: Msg): MessageLine | undefined {
  return msg instanceof MsgImpl && msg._msg instanceof MessageLine ? msg._msg : undefined;
}

/** The headers of a message that came over a subscription. */
export function headerBlockOf(msg: Msg): HeaderBlock {
  if (!(msg instanceof MsgImpl)) throw new Error("bug: not a message of nats.js");
  const { hdr } = msg._msg;
  if (hdr < 0) return noHeaders;
  return new HeaderBlock(bufferOf(msg._rdata).toString("utf8", 0, hdr));
}
