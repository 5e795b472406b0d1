/**
 * Correlation values of a RequestReply: a request's token, encrypted and signed (AES-256-GCM) for that RequestReply.
 * Subscribers see the value and give it back; only what a process of this mesh sealed opens again.
 *
 * The key is made once and kept in NATS, where every process of the mesh finds it.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { MeshError } from "../errors.ts";
import { keyBucket } from "../stream/subjects.ts";
import { isToken } from "./address.ts";

const cipherName = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;
const keyBytes = 32;
const sealedCharsMax = 200;
const keyName = "request-reply";

export class Seal {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Finds the key of the mesh, or makes it. */
  static async open(nc: NatsConnection, { replicas }: { replicas: number }): Promise<Seal> {
    // Everyone must see the one key: reads go to the leader.
    const kv = await new Kvm(nc).create(keyBucket, { history: 1, replicas, allow_direct: false });
    return new Seal((await readKey(kv)) ?? (await makeKey(kv)));
  }

  /** `scope` is the RequestReply, `<namespace>/<name>`. */
  close(token: string, scope: string): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(cipherName, this.#key, nonce).setAAD(Buffer.from(scope));
    const sealed = [nonce, cipher.update(token, "latin1"), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(sealed).toString("base64url");
  }

  /** The token; undefined unless it was sealed in this mesh, for this scope. */
  open(value: string, scope: string): string | undefined {
    if (value.length > sealedCharsMax) return undefined;
    const sealed = Buffer.from(value, "base64url");
    if (sealed.length <= nonceBytes + tagBytes) return undefined;
    try {
      const decipher = createDecipheriv(cipherName, this.#key, sealed.subarray(0, nonceBytes))
        .setAAD(Buffer.from(scope))
        .setAuthTag(sealed.subarray(-tagBytes));
      const opened = decipher.update(sealed.subarray(nonceBytes, -tagBytes));
      const token = Buffer.concat([opened, decipher.final()]).toString("latin1");
      return isToken(token) ? token : undefined;
    } catch {
      return undefined;
    }
  }
}

async function readKey(kv: KV): Promise<Uint8Array | undefined> {
  const entry = await kv.get(keyName);
  return entry?.value.length === keyBytes ? entry.value : undefined;
}

/** Of several processes that start together, one makes it. */
async function makeKey(kv: KV): Promise<Uint8Array> {
  const key = randomBytes(keyBytes);
  try {
    await kv.create(keyName, key);
    return key;
  } catch (cause) {
    const theirs = await readKey(kv);
    if (theirs !== undefined) return theirs;
    throw new MeshError("STORAGE_UNAVAILABLE", { found: "the key of RequestReplies cannot be kept", cause });
  }
}
