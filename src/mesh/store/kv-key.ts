/**
 * Keys of objects in the bucket: `<group>.<resource>.<namespace>.<name>`, each token escaped reversibly into the
 * alphabet of NATS KV (sheet nats-jetstream §4.1).
 */
import type { KindId } from "../resources/meta.ts";
import type { ObjectKey } from "./store.ts";

export function formatKvKey({ group, resource }: KindId, { namespace, name }: ObjectKey): string {
  return [group, resource, namespace ?? "", name].map(escapeToken).join(".");
}

/** Letters, digits, `_` and `-` stay; every other byte becomes `=XX`; nothing at all becomes `=`. */
function escapeToken(token: string): string {
  if (token === "") return "=";
  return [...Buffer.from(token, "utf8")]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9_-]/.test(character)
        ? character
        : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}
