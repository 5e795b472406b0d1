/** What several rounds come to: of each row the medians, and how far apart the rounds were. */
import { type Figure, format, type Spread, spreadOf } from "./figure.ts";

export interface Summary extends Spread {
  readonly part: string;
  readonly name: string;
  readonly quantity: string;
}

/** In the order in which rows and their quantities first appear. */
export function summarise(figures: readonly Figure[]): Summary[] {
  const keyOf = ({ part, name, quantity }: Figure) => JSON.stringify([part, name, quantity]);
  return [...Map.groupBy(figures, keyOf).values()].flatMap((alike) => {
    const [first] = alike;
    if (first === undefined) return [];
    const { part, name, quantity } = first;
    return [{ part, name, quantity, ...spreadOf(alike.map(({ value }) => value)) }];
  });
}

/** One table per part: a line of medians for each row, and below it the least and greatest apart, in % of it. */
export function summaryText(summaries: readonly Summary[]): string {
  const tables = [...Map.groupBy(summaries, ({ part }) => part)].map(([part, of]) => {
    const columns = [...new Set(of.map(({ quantity }) => quantity))];
    const lines = [...Map.groupBy(of, ({ name }) => name)].flatMap(([name, row]) => {
      const cell = (show: (spread: Spread) => string) =>
        columns.map((column) => {
          const found = row.find(({ quantity }) => quantity === column);
          return found === undefined ? "-" : show(found);
        });
      return [
        lineOf(
          name,
          cell(({ median }) => format(median)),
        ),
        lineOf("  apart", cell(apart)),
      ];
    });
    return [lineOf(part, columns), ...lines].join("\n");
  });
  return tables.join("\n\n");
}

function apart({ median, min, max }: Spread): string {
  return median === 0 ? "-" : `${Math.round(((max - min) / median) * 100)} %`;
}

function lineOf(name: string, cells: readonly string[]): string {
  return name.padEnd(38) + cells.map((cell) => cell.padStart(Math.max(10, cell.length + 2))).join("");
}
