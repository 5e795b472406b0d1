import { expect, test } from "vitest";
import type { Figure } from "../../../bench/figure.ts";
import { summarise, summaryText } from "../../../bench/summary.ts";

const figure = (name: string, quantity: string, value: number): Figure => ({
  part: "p",
  name,
  quantity,
  better: "more",
  value,
});

const rounds = [
  figure("row a", "in/s", 100),
  figure("row a", "p50 ms", 1),
  figure("row b", "in/s", 7),
  figure("row a", "in/s", 300),
  figure("row a", "p50 ms", 1.1),
  figure("row b", "in/s", 7),
  figure("row a", "in/s", 200),
];

test("summarise must give each quantity of each row its median, least and greatest", () => {
  expect(summarise(rounds)).toEqual([
    { part: "p", name: "row a", quantity: "in/s", median: 200, min: 100, max: 300 },
    { part: "p", name: "row a", quantity: "p50 ms", median: 1.05, min: 1, max: 1.1 },
    { part: "p", name: "row b", quantity: "in/s", median: 7, min: 7, max: 7 },
  ]);
});

test("summaryText must show the medians of a row, and below them how far apart the rounds were", () => {
  const squeezed = summaryText(summarise(rounds)).replaceAll(/ +/g, " ");
  expect(squeezed.split("\n")).toEqual([
    "p in/s p50 ms",
    "row a 200 1.05",
    " apart 100 % 10 %",
    "row b 7.00 -",
    " apart 0 % -",
  ]);
});
