/** One measured number, as the JSON of a run holds it and a comparison of two runs reads it. */
export interface Figure {
  readonly part: string;
  readonly name: string;
  readonly unit: Unit;
  readonly value: number;
}

/** More is better per second; less is better for the rest. */
export type Unit = "per second" | "ms" | "µs of CPU" | "MB";

/** Hands the figures of a part to `main.ts`, when it was that which started this process. */
export async function reportFigures(figures: readonly Figure[]): Promise<void> {
  if (process.send === undefined) return;
  await new Promise<void>((resolve) => process.send?.(figures, () => resolve()));
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (min === undefined || max === undefined || low === undefined || high === undefined) {
    throw new Error("no values, no spread");
  }
  return { median: (low + high) / 2, min, max };
}
