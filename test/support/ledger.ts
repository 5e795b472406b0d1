/**
 * Double-entry bookkeeping of events: what producers were told on one side, where each event ended on the other.
 * An event that was accepted and is neither delivered, nor a dead letter, nor still owed fails the test.
 */

import type { Answer, TestMesh } from "./mesh.ts";
import type { Inbox } from "./subscriber.ts";
import { until } from "./until.ts";

export interface Sent {
  readonly id: string;
  readonly type: string;
  readonly path?: string;
  readonly source?: string;
  readonly data?: unknown;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** A trigger that wants every event of one type, and where it delivers. */
export interface Account {
  readonly trigger: string;
  readonly type: string;
  readonly inbox: Pick<Inbox, "accepted">;
}

/** What a ledger needs of a mesh, be it one process or several. */
export type Booked = Pick<TestMesh, "post" | "trigger" | "deadLetters">;

export class Ledger {
  readonly #mesh: Booked;
  /** Answered 202: type by id. */
  readonly accepted = new Map<string, string>();
  /** Answered otherwise: may or may not be stored (a 503 after the storage failed), nobody counts on it. */
  readonly refused = new Map<string, number>();
  /** No answer at all. */
  readonly unanswered = new Set<string>();

  constructor(mesh: Booked) {
    this.#mesh = mesh;
  }

  /** Posts an event in binary mode and books what came of it; undefined when no answer came. */
  async send(event: Sent): Promise<Answer | undefined> {
    const { id, path } = event;
    let answer: Answer;
    try {
      answer = await this.#mesh.post({ ...binary(event), ...(path === undefined ? {} : { path }) });
    } catch {
      this.unanswered.add(id);
      return undefined;
    }
    if (answer.status === 202) {
      this.accepted.set(id, event.type);
      this.refused.delete(id);
      this.unanswered.delete(id);
    } else this.refused.set(id, answer.status);
    return answer;
  }

  /** Posts an event; anything but a 202 is an error. */
  async accept(event: Sent): Promise<void> {
    const answer = await this.send(event);
    if (answer?.status !== 202) throw new Error(`not accepted: ${answer?.status} ${answer?.body}`);
  }

  /** Waits until the trigger owes nothing, then requires every accepted event to be accounted for. */
  async settle(account: Account, { deadlineMs = 30_000 }: { deadlineMs?: number } = {}): Promise<void> {
    await until(() => this.#isIdle(account), { deadlineMs, what: `trigger ${account.trigger} owes nothing` });
    await this.balance(account);
  }

  /** Requires that accepted = delivered + dead + still owed, and that nothing came from nowhere. */
  async balance({ trigger, type, inbox }: Account): Promise<void> {
    const { pending, inFlight } = await until(() => this.#mesh.trigger(trigger), {
      what: `current figures of ${trigger}`,
    });
    const dead = (await this.#mesh.deadLetters({ trigger })).map(({ event }) => event.id);
    const ended = new Set([...inbox.accepted(), ...dead]);
    const open = [...this.accepted].filter(([id, its]) => its === type && !ended.has(id)).map(([id]) => id);
    if (open.length > pending + inFlight) {
      throw new Error(
        `lost: ${open.length} accepted events without an outcome, ${pending} pending, ${inFlight} in flight: ` +
          open.slice(0, 20).join(", "),
      );
    }
    const known = (id: string) => this.accepted.has(id) || this.refused.has(id) || this.unanswered.has(id);
    const strange = [...ended].filter((id) => !known(id));
    if (strange.length > 0) throw new Error(`delivered but never sent: ${strange.slice(0, 20).join(", ")}`);
  }

  async #isIdle({ trigger }: Account): Promise<boolean> {
    const { pending, inFlight } = await this.#mesh.trigger(trigger);
    return pending === 0 && inFlight === 0;
  }
}

/** An event as a binary-mode request. */
export function binary({ id, type, source = "/test", data, attributes = {} }: Sent): {
  headers: Record<string, string>;
  body?: string;
} {
  const headers: Record<string, string> = {
    "ce-specversion": "1.0",
    "ce-id": id,
    "ce-source": source,
    "ce-type": type,
  };
  for (const [name, value] of Object.entries(attributes)) headers[`ce-${name}`] = value;
  if (data === undefined) return { headers };
  return { headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(data) };
}
