/**
 * WHICH NATS servers weft runs on. One floor for everybody (atomic batches, schedules, per-message TTL and
 * consumer pause all arrive with it), so no feature switch per server version exists anywhere else.
 */
import { MeshError } from "../errors.ts";

/** The oldest server weft accepts. */
export const MINIMUM_VERSION = "2.12.0";

/** The version weft is developed on, and the one it fetches when the machine has none. */
export const PINNED_VERSION = "2.15.1";

export interface ServerVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** As the server writes it, without the leading `v`; keeps a suffix such as `-dev`. */
  readonly text: string;
}

const VERSION = /(?<![\d.])v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![\d.])((?:-[0-9A-Za-z.-]+)?)/;

/** Reads `nats-server: v2.15.1`, or the bare `2.15.0-dev` of an INFO line; undefined when it is neither. */
export function parseVersion(text: string): ServerVersion | undefined {
  const match = VERSION.exec(text);
  if (match === null) return undefined;
  const [, major, minor, patch, suffix = ""] = match;
  return {
    major: Number(major),
    minor: Number(minor),
    patch: Number(patch),
    text: `${major}.${minor}.${patch}${suffix}`,
  };
}

/** A pre-release counts as the release it leads to, as NATS clients count it. */
export function isNewEnough(version: ServerVersion): boolean {
  const minimum = parseVersion(MINIMUM_VERSION);
  if (minimum === undefined) return false;
  if (version.major !== minimum.major) return version.major > minimum.major;
  if (version.minor !== minimum.minor) return version.minor > minimum.minor;
  return version.patch >= minimum.patch;
}

/** What to tell the owner of a server below the floor. `where` says which server, never with a secret in it. */
export function tooOld(found: string, where: string): MeshError {
  return new MeshError("NATS_TOO_OLD", {
    expected: `NATS Server ${MINIMUM_VERSION} or newer`,
    found: `${found} (${where})`,
    fix:
      `Upgrade that server (https://github.com/nats-io/nats-server/releases, the container image nats:${PINNED_VERSION}, ` +
      "or your package manager), or unset NATS_URL so that weft fetches and runs its own",
  });
}
