/** The configuration of the embedded server, as text (pure). */

/** Largest event, and the default of every client that asks the server for its limit. */
const PAYLOAD_BYTES_MAX = 8 * 1024 * 1024;
const LOG_BYTES_MAX = 8 * 1024 * 1024;
const LOG_FILES_MAX = 3;
const MEMORY_BYTES_MAX = 256 * 1024 * 1024;
/** The store may take this part of what is free and what it has already. */
const DISK_SHARE = 0.8;
const STORE_BYTES_MIN = 1024 * 1024 * 1024;
const STORE_BYTES_MAX = 1024 * 1024 * 1024 * 1024;

/** What an acknowledged event survives: the death of any process, or a power loss as well (fsync each time). */
export type Durability = "process" | "power";

export interface ServerConfig {
  readonly token: string;
  /** -1 lets the server choose a free one. */
  readonly port: number;
  readonly durability: Durability;
  readonly storeBytesMax: number;
  readonly storeDir: string;
  readonly logFile: string;
  readonly pidFile: string;
  readonly portsDir: string;
}

/** The text of a nats-server configuration file; holds the token, so the file must be private. */
export function formatServerConfig(config: ServerConfig): string {
  return [
    `listen: "127.0.0.1:${config.port}"`,
    `server_name: "weft"`,
    `authorization { token: ${quote(config.token)} }`,
    `max_payload: ${PAYLOAD_BYTES_MAX}`,
    `pid_file: ${quote(config.pidFile)}`,
    `ports_file_dir: ${quote(config.portsDir)}`,
    `log_file: ${quote(config.logFile)}`,
    `logfile_size_limit: ${LOG_BYTES_MAX}`,
    `logfile_max_num: ${LOG_FILES_MAX}`,
    "jetstream {",
    `  store_dir: ${quote(config.storeDir)}`,
    `  max_mem: ${MEMORY_BYTES_MAX}`,
    `  max_file: ${config.storeBytesMax}`,
    ...(config.durability === "power" ? ["  sync_interval: always"] : []),
    "}",
    "",
  ].join("\n");
}

/** How large the store may grow, from what is free on its disk and what it takes already. */
export function storeBytesMax(freeBytes: number, usedBytes: number): number {
  const share = Math.floor((freeBytes + usedBytes) * DISK_SHARE);
  return Math.min(STORE_BYTES_MAX, Math.max(STORE_BYTES_MIN, share));
}

function quote(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
