/**
 * Who waits for the reply to an event: a token, and the type of the event that counts as the reply. Both travel
 * beside the event as NATS headers that only an ingress sets; neither is ever an attribute.
 *
 *     token = <id of the waiting process, 22 characters> <id of the request, 22 characters>
 *
 * T1  a token cannot be guessed: whoever has it may read the reply.
 * T2  what is no token of this form is nobody's address, wherever it comes from.
 */
import { randomBytes } from "node:crypto";
import { decodeHeaderValue, encodeHeaderValue } from "../event/header-value.ts";
import type { RawHeaders } from "../stream/publish.ts";
import { answerSubject } from "../stream/subjects.ts";

/** Where a reply goes. */
export interface ReplyAddress {
  readonly token: string;
  /** The first event of this type in the flow is the reply; undefined: the first reply to the event itself. */
  readonly replyType: string | undefined;
}

const tokenHeader = "weft-request";
const typeHeader = "weft-reply-type";

const idChars = 22;
const tokenPattern = /^[A-Za-z0-9_-]{44}$/;

/** A reply type that no event has: somebody else finds out what the answer is, and says so (RequestReply). */
export const answeredOtherwise = "\n";

/** 128 random bits, safe in a subject and in a path. */
export function randomId(): string {
  return randomBytes(16).toString("base64url");
}

export function isToken(text: string): boolean {
  return tokenPattern.test(text);
}

/** Where the answer to one request is sent. */
export function inboxOf(token: string): string {
  return answerSubject(token.slice(0, idChars), token.slice(idChars));
}

export function encodeAddress({ token, replyType }: ReplyAddress): RawHeaders {
  if (replyType === undefined) return [tokenHeader, token];
  return [tokenHeader, token, typeHeader, encodeHeaderValue(replyType)];
}

/** T2. */
export function decodeAddress(headers: { get(name: string): string } | undefined): ReplyAddress | undefined {
  const token = headers?.get(tokenHeader);
  if (!token || !isToken(token)) return undefined;
  const type = headers?.get(typeHeader);
  return { token, replyType: type ? decodeHeaderValue(type) : undefined };
}

/** The address a reply of this type carries on; undefined when the reply is what was waited for. */
export function addressBeyond(address: ReplyAddress, type: string): ReplyAddress | undefined {
  return address.replyType === undefined || address.replyType === type ? undefined : address;
}
