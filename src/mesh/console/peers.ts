/**
 * What only the process itself knows (attempts in flight, function instances), asked of every process of the mesh:
 * a core NATS request that all of them answer, gathered until no more answers come.
 *
 * One that does not answer in time (it was just killed) is missing from the sum, never counted twice.
 */
import type { NatsConnection, Subscription } from "@nats-io/nats-core";
import { z } from "zod";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { peersSubject } from "../stream/subjects.ts";

const answersWaitMs = 1000;
/** After the last answer; within one site an answer takes a few milliseconds. */
const silenceMs = 150;

const reportSchema = z.object({
  host: z.string(),
  pid: z.int(),
  roles: z.array(z.string()),
  /** Whether its control plane is the active one. */
  leads: z.boolean(),
  ready: z.boolean(),
  /** Attempts running, by trigger uid; zeros are left out. */
  inFlight: z.record(z.string(), z.int()),
  functions: z.array(
    z.object({
      namespace: z.string(),
      name: z.string(),
      instances: z.array(z.object({ pid: z.int(), state: z.string() })),
    }),
  ),
});
export type PeerReport = z.output<typeof reportSchema>;

export interface PeersOptions {
  readonly nc: NatsConnection;
  readonly log: Log;
  /** What this process says of itself. */
  readonly report: () => PeerReport;
}

export class Peers implements Closeable {
  readonly #options: PeersOptions;
  readonly #subscription: Subscription;

  constructor(options: PeersOptions) {
    this.#options = options;
    const { nc, report, log } = options;
    this.#subscription = nc.subscribe(peersSubject, {
      callback: (error, msg) => {
        if (error !== null) return;
        try {
          msg.respond(JSON.stringify(report()));
        } catch (thrown) {
          log.warn({ stage: "console", error: messageOf(thrown) }, "a peer was not answered");
        }
      },
    });
  }

  /** Everybody's report, this process's own among them. Never rejects: without NATS it is this one's alone. */
  async ask(): Promise<PeerReport[]> {
    const { nc, log, report } = this.#options;
    const reports: PeerReport[] = [];
    try {
      const answers = await nc.requestMany(peersSubject, "", {
        strategy: "stall",
        maxWait: answersWaitMs,
        stall: silenceMs,
      });
      for await (const answer of answers) {
        const parsed = reportSchema.safeParse(answer.json());
        if (parsed.success) reports.push(parsed.data);
      }
    } catch (error) {
      log.debug({ stage: "console", error: messageOf(error) }, "the peers could not be asked");
    }
    const own = report();
    const isOwn = (other: PeerReport) => other.pid === own.pid && other.host === own.host;
    return reports.some(isOwn) ? reports : [...reports, own];
  }

  async close(): Promise<void> {
    this.#subscription.unsubscribe();
  }
}
