/**
 * The addresses of NATS servers as people write them (NATS_URL): one or several, comma-separated, with or
 * without credentials.
 *
 * U1  a secret in an address never reaches a log, an error or an API: whatever shows one shows `redactUrl`.
 */
import { MeshError } from "../errors.ts";

const DEFAULT_PORT = "4222";

/** What a NATS client needs to know from the address. */
export interface NatsAddress {
  /** `host:port`, without scheme and credentials. */
  readonly servers: readonly string[];
  readonly token: string | undefined;
  readonly user: string | undefined;
  readonly pass: string | undefined;
  /** The address asked for TLS (`tls://`). */
  readonly tls: boolean;
}

/**
 * Reads `nats://token@host:port`, `nats://user:pass@host`, `tls://host`, `host:port`, comma-separated. Throws
 * CONFIG_INVALID for anything else, and when servers of one cluster carry different credentials.
 */
export function parseNatsUrl(text: string): NatsAddress {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.length === 0) throw invalid(text);
  const urls = parts.map((part) => parseOne(part, text));
  const logins = new Set(
    urls.map(({ username, password }) => `${username}:${password}`).filter((l) => l !== ":"),
  );
  if (logins.size > 1) throw invalid(text, "the same credentials for every server");
  const login = urls.find(({ username, password }) => username !== "" || password !== "");
  const name = decode(login?.username, text);
  const pass = decode(login?.password, text);
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port || DEFAULT_PORT}`),
    token: pass === undefined ? name : undefined,
    user: pass === undefined ? undefined : (name ?? ""),
    pass,
    tls: urls.some(({ protocol }) => protocol === "tls:"),
  };
}

function parseOne(part: string, whole: string): URL {
  const url = URL.parse(part.includes("://") ? part : `nats://${part}`);
  const known = url?.protocol === "nats:" || url?.protocol === "tls:";
  if (url === null || !known || url.hostname === "") throw invalid(whole);
  if (!["", "/"].includes(url.pathname) || url.search !== "" || url.hash !== "") throw invalid(whole);
  return url;
}

function decode(part: string | undefined, whole: string): string | undefined {
  if (part === undefined || part === "") return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(whole, "credentials with % written as %25");
  }
}

function invalid(text: string, expected = "nats://host:port or tls://host:port, comma-separated"): MeshError {
  return new MeshError("CONFIG_INVALID", { field: "NATS_URL", expected, found: `"${redactUrl(text)}"` });
}

/** The address with every credential replaced by `***`; works on text that is no address too. */
export function redactUrl(text: string): string {
  return text
    .split(",")
    .map((part) => part.replace(/^(\s*(?:[a-z][a-z0-9+.-]*:\/\/)?).*@/is, "$1***@"))
    .join(",");
}
