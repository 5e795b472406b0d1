/** What the first process and its workers say to each other, over the IPC channel: no secret is in a command line. */
import { z } from "zod";
import { allRoles, configSchema } from "../config.ts";
import { attemptRecordSchema, outcomeRecordSchema, unmatchedRecordSchema } from "../journal/record.ts";

/** A broker that must not take events now, and the words of its STREAM_FULL. */
const refusalSchema = z.object({
  /** `<namespace>/<broker>` */
  path: z.string(),
  field: z.string().optional(),
  found: z.string().optional(),
  fix: z.string().optional(),
});
export type BrokerRefusal = z.output<typeof refusalSchema>;

const settingsSchema = z.object({
  config: configSchema,
  /** What the whole mesh process does; a worker does of it ingress and dispatch. */
  roles: z.array(z.enum(allRoles)),
  nats: z.object({
    url: z.string(),
    credsFile: z.string().optional(),
    nkeyFile: z.string().optional(),
    tlsCaFile: z.string().optional(),
    tlsCertFile: z.string().optional(),
    tlsKeyFile: z.string().optional(),
  }),
  portion: z.object({ index: z.int().min(1), of: z.int().min(2) }),
  /** Where the first process takes plain HTTP to functions, on loopback; absent: it runs none. */
  functionsPort: z.int().optional(),
  refusals: z.array(refusalSchema),
});
export type WorkerSettings = z.output<typeof settingsSchema>;

export const toWorkerSchema = z.discriminatedUnion("kind", [
  /** The first one. */
  z.object({ kind: z.literal("start"), settings: settingsSchema }),
  /** A connection comes with it. */
  z.object({ kind: z.literal("connection") }),
  /** After each `connection`, which may be lost on its way: whether it has arrived is to be said. */
  z.object({ kind: z.literal("offered") }),
  /** All there are now. */
  z.object({ kind: z.literal("refusals"), refusals: z.array(refusalSchema) }),
  /** Stop, attempts in flight may finish. */
  z.object({ kind: z.literal("drain") }),
]);
export type ToWorker = z.output<typeof toWorkerSchema>;

export const fromWorkerSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready") }),
  /** Every second from then on. `trouble`: why it does not serve well, for people. */
  z.object({ kind: z.literal("beat"), trouble: z.string().optional() }),
  /** It has the routes as they are at this revision of their bucket. */
  z.object({ kind: z.literal("routes"), revision: z.int() }),
  /** The answer to `offered`: another connection may come. */
  z.object({ kind: z.literal("taken"), arrived: z.boolean() }),
  z.object({ kind: z.literal("failed"), message: z.string() }),
  z.object({
    kind: z.literal("records"),
    records: z.array(
      z.discriminatedUnion("kind", [attemptRecordSchema, outcomeRecordSchema, unmatchedRecordSchema]),
    ),
    /** More happened than is told. */
    missed: z.int(),
  }),
]);
export type FromWorker = z.output<typeof fromWorkerSchema>;
