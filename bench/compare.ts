/**
 * Compares two revisions: the bench of this checkout measures weft as it was at each of them, in turns, so that
 * what else the machine does hits both alike. Each pair of runs gives one ratio; their spread is the noise.
 *
 *     node bench/compare.ts HEAD~1 HEAD deliver fanout --pairs 5 --seconds 3
 *
 * Both revisions use the packages that are installed here.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { type Better, type Figure, format, spreadOf } from "./figure.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const main = fileURLToPath(new URL("main.ts", import.meta.url));
const pairsForVerdict = 5;
/** They measure the files of this checkout, not a running weft. */
const incomparable = ["codec", "filter"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { pairs: { type: "string", default: "5" }, seconds: { type: "string", default: "3" } },
});
const [revisionA, revisionB, ...named] = positionals;
const parts = named.length > 0 ? named : ["deliver"];
const unfit = parts.filter((part) => incomparable.includes(part));
if (revisionA === undefined || revisionB === undefined || unfit.length > 0) {
  process.stderr.write("usage: node bench/compare.ts REV_A REV_B [part…] [--pairs N] [--seconds N]\n");
  if (unfit.length > 0) process.stderr.write(`not comparable between revisions: ${unfit.join(", ")}\n`);
  process.exit(2);
}

interface Side {
  readonly revision: string;
  readonly dir: string;
}

const git = async (...args: readonly string[]) =>
  (await promisify(execFile)("git", ["-C", root, ...args])).stdout.trim();
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());

const dir = await mkdtemp(join(tmpdir(), "weft-compare-"));
const worktrees: string[] = [];
try {
  const a = await checkOut(revisionA, "a");
  const b = await checkOut(revisionB, "b");
  process.stdout.write(
    `A ${a.revision}, B ${b.revision}; ${values.pairs} pairs of ${values.seconds} s per row; ` +
      `load average before ${loadavg()[0]?.toFixed(2)}\n`,
  );
  const pairs: [Figure[], Figure[]][] = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    process.stdout.write(`pair ${pair + 1}\n`);
    // Whoever runs second finds a warmer machine: they take turns in that, too.
    const isSwapped = pair % 2 === 1;
    const [first, second] = isSwapped ? [b, a] : [a, b];
    const figures = [await run(first), await run(second)] as [Figure[], Figure[]];
    pairs.push(isSwapped ? [figures[1], figures[0]] : figures);
  }
  print(pairs);
} catch (error) {
  if (!stop.signal.aborted) throw error;
} finally {
  for (const worktree of worktrees) await git("worktree", "remove", "--force", worktree);
  await rm(dir, { recursive: true, force: true });
}
process.exit(stop.signal.aborted ? 130 : 0);

async function checkOut(revision: string, name: string): Promise<Side> {
  const worktree = join(dir, name);
  const commit = await git("rev-parse", "--short", "--verify", `${revision}^{commit}`);
  worktrees.push(worktree);
  await git("worktree", "add", "--detach", worktree, commit);
  await symlink(join(root, "node_modules"), join(worktree, "node_modules"));
  return { revision: commit, dir: worktree };
}

async function run(side: Side): Promise<Figure[]> {
  stop.signal.throwIfAborted();
  const json = join(dir, "run.json");
  await rm(json, { force: true });
  const args = [main, ...parts, "--seconds", values.seconds, "--no-limits", "--json", json];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, WEFT_BENCH_CHECKOUT: side.dir },
    signal: stop.signal,
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`the run of ${side.revision} failed`);
  return (JSON.parse(await readFile(json, "utf8")) as { figures: Figure[] }).figures;
}

function print(pairs: readonly (readonly [Figure[], Figure[]])[]): void {
  const cells = (name: string, rest: readonly string[]) =>
    `${name.padEnd(48)}${rest.map((cell) => cell.padStart(14)).join("")}\n`;
  process.stdout.write(`\n${cells("", ["A", "B", "B / A", "min", "max", ""])}`);
  for (const wanted of pairs[0]?.[0] ?? []) {
    const values = pairs.flatMap(([inA, inB]) => {
      const [a, b] = [valueIn(inA, wanted), valueIn(inB, wanted)];
      return a === undefined || b === undefined ? [] : [{ a, b }];
    });
    if (values.length === 0) continue;
    const [a, b] = [spreadOf(values.map((pair) => pair.a)), spreadOf(values.map((pair) => pair.b))];
    const ratio = spreadOf(values.map((pair) => pair.b / pair.a));
    process.stdout.write(
      cells(`${wanted.name}, ${wanted.quantity}`, [
        format(a.median),
        format(b.median),
        ...[ratio.median, ratio.min, ratio.max].map((each) => `${each.toFixed(2)}×`),
        values.length < pairsForVerdict ? "" : verdict(ratio, wanted.better),
      ]),
    );
  }
}

function valueIn(figures: readonly Figure[], wanted: Figure): number | undefined {
  return figures.find(({ name, quantity }) => name === wanted.name && quantity === wanted.quantity)?.value;
}

/** A difference counts when every pair shows it; fewer pairs than `pairsForVerdict` agree too often by chance. */
function verdict({ min, max }: { min: number; max: number }, better: Better): string {
  if (min <= 1 && max >= 1) return "";
  return min > 1 === (better === "more") ? "B is better" : "B is worse";
}
