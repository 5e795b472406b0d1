/** Producers that keep sending, each event again until it is accepted, until they are stopped. */
import type { Ledger } from "./ledger.ts";
import { until } from "./until.ts";

export interface Load {
  /** Answers that were no 202. */
  readonly others: readonly { readonly status: number | undefined; readonly retryAfter: string | null }[];
  /** Events accepted so far. */
  sent(): number;
  stop(): Promise<void>;
}

export interface LoadOptions {
  readonly type: string;
  readonly producers?: number;
  /** Where each producer sends, in turn; one ledger for the mesh when they are the same. */
  readonly ledgers: readonly Ledger[];
  readonly deadlineMs?: number;
}

export function startLoad({ type, ledgers, producers = 4, deadlineMs = 60_000 }: LoadOptions): Load {
  const others: { status: number | undefined; retryAfter: string | null }[] = [];
  let stopped = false;
  let sent = 0;
  const produce = async (producer: number) => {
    for (let n = 0; !stopped; n++) {
      const id = `${type}-${producer}-${n}`;
      await until(
        async () => {
          const ledger = ledgers[(producer + n) % ledgers.length];
          const answer = await ledger?.send({ id, type, data: { n } });
          if (answer?.status === 202) {
            sent++;
            return true;
          }
          others.push({
            status: answer?.status,
            retryAfter: answer?.headers.get("retry-after") ?? null,
          });
          return stopped;
        },
        { deadlineMs, what: `${id} is accepted` },
      );
    }
  };
  const done = Promise.all(Array.from({ length: producers }, (_, i) => produce(i)));
  return {
    others,
    sent: () => sent,
    async stop() {
      stopped = true;
      await done;
    },
  };
}
