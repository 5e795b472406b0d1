/** One measured number, as the JSON of a run holds it and a comparison of two runs reads it. */
export interface Figure {
  readonly part: string;
  /** Of the row. */
  readonly name: string;
  /** What the number is, with its unit: the head of its column. */
  readonly quantity: string;
  readonly better: Better;
  readonly value: number;
}

export type Better = "more" | "less";

/** Of one row, by column; what could not be measured is left out. */
export type Cells = readonly (readonly [quantity: string, better: Better, value: number | undefined])[];

export function figuresOf({ part, name }: Pick<Figure, "part" | "name">, cells: Cells): Figure[] {
  return cells.flatMap(([quantity, better, value]) =>
    value === undefined ? [] : [{ part, name, quantity, better, value }],
  );
}

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

/** With as many digits as mean something. */
export function format(value: number): string {
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.1 ? 2 : 3);
}
