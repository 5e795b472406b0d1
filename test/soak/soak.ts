/**
 * A long crash test: `node test/soak/soak.ts --seconds 600 --seed 7 --faults "kill server"`. A three-node NATS
 * cluster, two ingress and control processes and three dispatchers, under load; all the while something is killed,
 * frozen or stopped and brought back. In the end every accepted event must be accounted for and every reply stored
 * once. Exits with 1 when not.
 *
 *   faults     kill -9 or a clean stop of any weft process; kill -9 or a freeze of one NATS server at a time
 *   triggers   steady (always accepts, replies), flaky (fails, hangs, cuts), doomed (few retries: dead letters)
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { jetstreamManager } from "@nats-io/jetstream";
import { systemClock } from "../../src/mesh/clock.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { connectNats } from "../../src/mesh/nats/connection.ts";
import { findServer } from "../../src/mesh/nats/find.ts";
import { startTestCluster, type TestCluster } from "../support/cluster.ts";
import { type Account, type Booked, Ledger, type Sent } from "../support/ledger.ts";
import { startLoad } from "../support/load.ts";
import { startTestMesh, type TestMesh, triggerManifest } from "../support/mesh.ts";
import { useNatsBinary } from "../support/nats-binary.ts";
import { type Inbox, type Script, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";
import { run, say, started } from "./script.ts";

const settleMs = 300_000;
const restartMs = 120_000;
const lostShownMax = 5;
const answersKept = 6;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    seed: { type: "string", default: `${Date.now() % 100_000}` },
    faults: { type: "string", default: "kill process,kill process,stop process,kill server,freeze server" },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
if (!(seconds > 0) || !Number.isInteger(seed)) throw new Error("expected --seconds and --seed to be numbers");
const random = randomFrom(seed);
/** For the subscriber, whose requests come when they come: it must not disturb the order of the faults. */
const chance = randomFrom(seed + 1);
/** Comma-separated, to look for what one kind of fault does. */
const faults = values.faults.split(",");

async function soak(): Promise<void> {
  say(`soaking for ${seconds} s, seed ${seed}`);
  const { binary } = await findServer({
    clock: systemClock,
    path: process.env.PATH ?? "",
    cacheDir: process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
    say,
  });
  useNatsBinary(binary);
  const subscriber = started.use("subscriber", await startSubscriber());
  const cluster = started.use("cluster", await startTestCluster());
  const serve = async (roles: string) =>
    started.use(
      roles,
      await startTestMesh({
        flags: ["--replicas", "3", "--warm-pool", "0", "--drain", "2s"],
        serve: { natsUrl: cluster.url, roles },
      }),
    );
  const ingresses = [await serve("ingress,control"), await serve("ingress,control")];
  const dispatchers = [await serve("dispatch"), await serve("dispatch"), await serve("dispatch")];

  const scripts: Record<string, Script> = {
    steady: reply,
    flaky,
    doomed: () => (chance() < 0.6 ? 500 : 204),
  };
  const patient = { retry: 1000, backoffPolicy: "linear", backoffDelay: "PT0.1S", timeout: "PT2S" };
  const impatient = { retry: 2, backoffPolicy: "linear", backoffDelay: "PT0.1S" };
  const accounts: Account[] = [];
  const inboxes = new Map<string, Inbox>();
  for (const [type, script] of Object.entries(scripts)) {
    const inbox = subscriber.inbox(type, script);
    const delivery = type === "doomed" ? impatient : patient;
    await ingresses[0]?.serve(triggerManifest(type, { type, to: inbox.url, delivery }));
    accounts.push({ trigger: type, type, inbox });
    inboxes.set(type, inbox);
  }
  const mesh = oneOf(ingresses);
  const ledger = new SoakLedger(mesh);
  const loads = accounts.map(({ type }) =>
    startLoad({ type, ledgers: [ledger], producers: 2, deadlineMs: restartMs }),
  );

  const suffered = await torment({ cluster, processes: [...ingresses, ...dispatchers] });
  await Promise.all(loads.map((load) => load.stop()));
  say(
    `faults ${JSON.stringify(suffered)}; accepted ${ledger.accepted.size}, refused on the way ${refusals(loads)}`,
  );
  for (const account of accounts) {
    try {
      await ledger.settle(account, { deadlineMs: settleMs });
    } catch (error) {
      const dead = (await mesh.deadLetters({ trigger: account.trigger })).map(({ event }) => event.id);
      const ended = new Set([...account.inbox.accepted(), ...dead]);
      const lost = [...ledger.accepted].filter(([id, type]) => type === account.type && !ended.has(id));
      for (const [id] of lost.slice(0, lostShownMax)) {
        await tellWhere(cluster, { id, ledger, inbox: inboxes.get(account.type) });
      }
      throw error;
    }
  }
  const dead = await mesh.deadLetters({});
  await requireEachOnce(cluster, [...ledger.accepted].filter(([, type]) => type === "steady").length);
  say(`every accepted event is accounted for; ${dead.length} dead letters; every reply is stored once`);
}

/** One fault after the other until the time is over; in the end everything runs again. */
async function torment({
  cluster,
  processes,
}: {
  cluster: TestCluster;
  processes: readonly TestMesh[];
}): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const repairs = new Map<unknown, Promise<void>>();
  const end = systemClock.monotonic() + seconds * 1000;
  while (systemClock.monotonic() < end) {
    const fault = pick(faults);
    counts[fault] = (counts[fault] ?? 0) + 1;
    if (fault.endsWith("process")) {
      const victim = pick(processes);
      await repairs.get(victim);
      say(`${fault}: ${victim.pid}`);
      if (fault === "kill process") await victim.kill9();
      else await victim.stop();
      repairs.set(victim, bringBack(victim));
    } else {
      // One server at a time: the majority stays.
      await repairs.get("server");
      const victim = pick(cluster.names);
      say(`${fault}: ${victim}, of the events' leader ${await cluster.leaderOf("weft-ev-default_default")}`);
      repairs.set("server", hurt(cluster, { name: victim, fault, share: random() }));
    }
    await systemClock.sleep(200 + random() * 3000);
  }
  await Promise.all(repairs.values());
  return counts;
}

/** A supervisor starts it again and again; while NATS has no leader it cannot start. */
async function bringBack(mesh: TestMesh): Promise<void> {
  await until(
    async () => {
      try {
        await mesh.start();
        return true;
      } catch {
        return false;
      }
    },
    { deadlineMs: restartMs, what: "a process is back" },
  );
}

async function hurt(
  cluster: TestCluster,
  { name, fault, share }: { name: string; fault: string; share: number },
): Promise<void> {
  if (fault === "kill server") {
    await cluster.kill9(name);
    await systemClock.sleep(share * 5000);
    cluster.start(name);
  } else {
    cluster.signal(name, "SIGSTOP");
    await systemClock.sleep(share * 20_000);
    cluster.signal(name, "SIGCONT");
  }
  await until(
    async () => {
      const { wanted, current } = await cluster.copiesOf("weft-ev-default_default");
      return wanted === current;
    },
    { deadlineMs: restartMs, what: "all copies are whole again" },
  );
}

/** Any of the processes: one that is down now is left out. */
function oneOf(meshes: readonly TestMesh[]): Booked {
  let turn = 0;
  const ask = async <T>(question: (mesh: TestMesh) => Promise<T>): Promise<T> => {
    let last: unknown;
    for (let i = 0; i < meshes.length; i++) {
      const mesh = meshes[turn++ % meshes.length];
      if (mesh === undefined) continue;
      try {
        return await question(mesh);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  };
  return {
    post: (event) => ask((mesh) => mesh.post(event)),
    trigger: (name, namespace) => ask((mesh) => mesh.trigger(name, namespace)),
    deadLetters: (query) => ask((mesh) => mesh.deadLetters(query)),
  };
}

/** Where an event is that is missing: in the stream or not, what its consumer knows, what the journal says. */
async function tellWhere(
  cluster: TestCluster,
  { id, ledger, inbox }: { id: string; ledger: SoakLedger; inbox: Inbox | undefined },
): Promise<void> {
  say(`where is ${id}? answers to its producer: ${JSON.stringify(ledger.answers.get(id))}`);
  const tries = (inbox?.of(id) ?? []).map(({ at, accepted }) => ({ at: Math.round(at), accepted }));
  say(`  requests at the subscriber: ${JSON.stringify(tries)}`);
  const options = { name: "soak", clock: systemClock, log: silentLog };
  const connection = await connectNats({ url: cluster.url }, options);
  try {
    const jsm = await jetstreamManager(connection.nc, { checkAPI: false });
    for (const stream of ["weft-ev-default_default", "weft-log-default_default"]) {
      const { state } = await jsm.streams.info(stream);
      say(
        `  ${stream}: ${state.messages} messages, ${state.first_seq} to ${state.last_seq}, ${state.num_deleted ?? 0} deleted`,
      );
      for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
        const message = await jsm.streams.getMessage(stream, { seq }).catch(() => null);
        if (message === null) continue;
        const text = Buffer.from(message.data).toString("utf8");
        if (message.header?.get("ce-id") === id) {
          say(`  in ${stream} as ${seq}, stored ${message.time.toISOString()} on ${message.subject}`);
        } else if (text.includes(`"${id}"`)) {
          const parsed: unknown = JSON.parse(text);
          const records = (Array.isArray(parsed) ? parsed : [parsed]).filter((record) => record.id === id);
          say(`  journal ${seq}: ${JSON.stringify(records)}`);
        }
      }
    }
    for await (const {
      name,
      ack_floor,
      delivered,
      num_pending,
      num_ack_pending,
      config,
    } of jsm.consumers.list("weft-ev-default_default")) {
      say(
        `  ${JSON.stringify({ name, filter: config.filter_subject, ack_floor, delivered, num_pending, num_ack_pending })}`,
      );
    }
  } finally {
    await connection.close();
  }
}

/** Keeps every answer, for whoever looks for an event afterwards. */
class SoakLedger extends Ledger {
  readonly answers = new Map<string, string[]>();

  override async send(event: Sent): ReturnType<Ledger["send"]> {
    const answer = await super.send(event);
    const told = answer === undefined ? "none" : `${answer.status} ${answer.body.slice(0, 200)}`.trim();
    const at = new Date(systemClock.now()).toISOString().slice(11, 23);
    this.answers.set(event.id, [...(this.answers.get(event.id) ?? []), `${at} ${told}`].slice(-answersKept));
    return answer;
  }
}

/** Replies are counted by the type each event's reply has of its own. */
async function requireEachOnce(cluster: TestCluster, accepted: number): Promise<void> {
  const options = { name: "soak", clock: systemClock, log: silentLog };
  const connection = await connectNats({ url: cluster.url }, options);
  try {
    const jsm = await jetstreamManager(connection.nc, { checkAPI: false });
    const { state } = await jsm.streams.info("weft-ev-default_default", {
      subjects_filter: "weft.ev.default.default.answer.>",
    });
    const stored = Object.entries(state.subjects ?? {});
    const repeated = stored.filter(([, count]) => count !== 1);
    if (repeated.length > 0) throw new Error(`replies stored more than once: ${JSON.stringify(repeated)}`);
    if (stored.length < accepted) throw new Error(`${stored.length} replies to ${accepted} events`);
  } finally {
    await connection.close();
  }
}

function reply({ id }: { id: string }) {
  const headers = {
    "ce-specversion": "1.0",
    "ce-id": `reply-${id}`,
    "ce-source": "/soak",
    "ce-type": `answer.${id}`,
  };
  return { status: 200, headers, delayMs: chance() * 30 };
}

function flaky() {
  const dice = chance();
  if (dice < 0.1) return "reset";
  if (dice < 0.12) return "hang";
  if (dice < 0.3) return 503;
  return { status: 204, delayMs: dice * 50 };
}

function refusals(loads: readonly { readonly others: readonly unknown[] }[]): number {
  return loads.reduce((sum, { others }) => sum + others.length, 0);
}

function pick<T>(choices: readonly T[]): T {
  const choice = choices[Math.floor(random() * choices.length)];
  if (choice === undefined) throw new Error("nothing to choose from");
  return choice;
}

/** Mulberry32: the same seed brings the same faults in the same order. */
function randomFrom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

await run(soak);
