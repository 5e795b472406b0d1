/**
 * Every option of `weft up` and `weft serve`, declared once: name, default, unit, check, text. The flag is the
 * name in kebab-case, the environment variable is WEFT_ and the name in capitals (DESIGN §10). Precedence:
 * flag, environment, default.
 */
import { z } from "zod";
import { MeshError } from "./errors.ts";

const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  const ms = typeof value === "number" ? value : parseDurationMs(value);
  if (ms === undefined) {
    context.addIssue({
      code: "custom",
      message: `expected a duration such as 5s, 500ms or 2m, found "${value}"`,
    });
    return z.NEVER;
  }
  return ms;
});

const bytes = z.union([z.string(), z.number()]).transform((value, context) => {
  const count = typeof value === "number" ? value : parseBytes(value);
  if (count !== undefined && count >= streamBytesMin) return count;
  context.addIssue({
    code: "custom",
    message: `expected a size of at least 1MB such as 512MB, 20GB or 2TB, found "${value}"`,
  });
  return z.NEVER;
});
const streamBytesMin = 1_000_000;

const port = z.coerce.number().int().min(0).max(65535);

const flag = z
  .union([z.boolean(), z.enum(["true", "false", "1", "0", ""])])
  .transform((value) => value === true || value === "true" || value === "1");

const list = z.union([
  z.array(z.string()),
  z.string().transform((text) => text.split(",").filter((part) => part !== "")),
]);

/** What a process of the mesh can do; `weft up` does all of it. */
export const allRoles = ["ingress", "dispatch", "control"] as const;
export type Role = (typeof allRoles)[number];

export const configSchema = z.strictObject({
  port: port.default(8080).describe("events in, and functions by host name"),
  controlPort: port.default(8090).describe("API, health, dead letters"),
  host: z.string().default("127.0.0.1").describe("address both ports listen on"),
  dataDir: z.string().min(1).default(".weft").describe("where everything is kept between runs"),
  manifests: list.default(["knative"]).describe("folder or file of YAML manifests, watched; repeatable"),
  functions: z.string().default("functions").describe("folder of functions, watched"),
  drain: duration.default(5000).describe("how long a stop waits for attempts in flight"),
  idleWindow: duration.default(60_000).describe("how long a function idles before it goes to zero"),
  warmPool: z.coerce.number().int().min(0).max(64).default(2).describe("processes kept ready for functions"),
  durability: z
    .enum(["process", "power"])
    .default("process")
    .describe("what accepted events survive: a kill of anything, or a power cut too"),
  replicas: z.coerce
    .number()
    .int()
    .min(1)
    .max(5)
    .default(1)
    .describe("copies of each stream on a NATS cluster"),
  retention: duration.default(7 * 24 * 3_600_000).describe("how long delivered events can be replayed"),
  streamBytesMax: bytes
    .optional()
    .describe("most bytes of stored events per broker, such as 20GB; by default from what the disk has free"),
  dedupe: duration.default(120_000).describe("window in which a repeated (source, id) is a duplicate"),
  attributesMax: z.coerce
    .number()
    .int()
    .min(1024)
    .max(98_304)
    .default(65_536)
    .describe("most bytes of one event's attributes, as headers"),
  batchMax: z.coerce.number().int().min(1).max(1000).default(1000).describe("most events in one batch"),
  requestWait: duration.default(30_000).describe("how long a request waits for its reply if it does not say"),
  requestWaitMax: duration.default(300_000).describe("the longest a request may wait for its reply"),
  requestsMax: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(10_000)
    .describe("requests waiting at once, in one process"),
  workers: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .optional()
    .describe(
      "processes for ingress and dispatch; by default one for `weft up`, half the cores for `weft serve`",
    ),
  roles: list
    .pipe(z.array(z.enum(allRoles)).min(1))
    .default([...allRoles])
    .describe("parts that `weft serve` runs in this process, comma-separated; `weft up` runs all"),
  publicUrl: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ""))
    .optional()
    .describe("address by which others reach the events port, when it is not the one listened on"),
  reset: flag.default(false).describe("forget everything stored in the data directory first"),
  logLevel: z
    .enum(["debug", "info", "warn", "error", "silent"])
    .default("warn")
    .describe("of the log on stderr"),
  natsUrl: z
    .string()
    .optional()
    .describe("a NATS server or cluster to use instead of an embedded one (also NATS_URL)"),
  natsCreds: z.string().optional().describe("credentials file for it"),
  natsNkey: z.string().optional().describe("nkey seed file for it"),
  natsCa: z.string().optional().describe("CA certificate file for it"),
});

export type Config = z.output<typeof configSchema>;
export type ConfigName = keyof Config;

export const configNames = Object.keys(configSchema.shape) as ConfigName[];

/** `dataDir` → `--data-dir` */
export function flagOf(name: ConfigName): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `dataDir` → `WEFT_DATA_DIR` */
export function environmentOf(name: ConfigName): string {
  return `WEFT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Throws CONFIG_INVALID with all faults together. */
export function parseConfig(
  flags: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
): Config {
  const merged: Record<string, unknown> = {};
  for (const name of configNames) {
    const value = flags[name] ?? environment[environmentOf(name)];
    if (value !== undefined) merged[name] = value;
  }
  if (merged.natsUrl === undefined && environment.NATS_URL) merged.natsUrl = environment.NATS_URL;
  const parsed = configSchema.safeParse(merged);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => {
    const name = issue.path[0] as ConfigName | undefined;
    return `${name === undefined ? "option" : flagOf(name)}: ${issue.message}`;
  });
  throw new MeshError("CONFIG_INVALID", { field: faults.join("; "), fix: "See `weft up --help`" });
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `5s`, `1.5m`, `2h`, `7d`; undefined for anything else. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const unit = match?.[2] === undefined ? undefined : units[match[2]];
  return unit === undefined ? undefined : Math.round(Number(match?.[1]) * unit);
}

const byteUnits: Readonly<Record<string, number>> = { KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

/** `512MB`, `1.5GB`, `2TB`, or a number of bytes; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(KB|MB|GB|TB)?$/i.exec(text.trim());
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * (byteUnits[match[2]?.toUpperCase() ?? ""] ?? 1));
}
