/** Whether something that was watched over time has stopped growing. */

/** The last of these parts must not rise above the one before it. */
const parts = 3;

export interface Slack {
  /** What the peaks may differ by, as a share and in absolute terms; the greater one counts. */
  readonly share: number;
  readonly amount: number;
}

/** Compares the peak of the last third of the samples with that of the second; fewer than three say nothing. */
export function hasStoppedGrowing(samples: readonly number[], { share, amount }: Slack): boolean {
  const third = Math.floor(samples.length / parts);
  if (third === 0) return false;
  const last = Math.max(...samples.slice(-third));
  const before = Math.max(...samples.slice(-2 * third, -third));
  return last - before <= Math.max(share * before, amount);
}
