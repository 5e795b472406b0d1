import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { readLines } from "../../../src/mesh/host/lines.ts";

async function linesOf(chunks: readonly (string | Uint8Array)[]): Promise<string[]> {
  const source = new PassThrough();
  const lines: string[] = [];
  readLines(source, (line) => lines.push(line));
  for (const chunk of chunks) source.write(chunk);
  source.end();
  await new Promise((resolve) => source.once("end", resolve));
  return lines;
}

const euro = new TextEncoder().encode("€\n");

test.each([
  { name: "whole lines", chunks: ["a\nb\n"], lines: ["a", "b"] },
  { name: "a line in pieces", chunks: ["a", "b\nc", "\n"], lines: ["ab", "c"] },
  { name: "a last line without its end", chunks: ["a\nb"], lines: ["a", "b"] },
  { name: "empty lines and carriage returns", chunks: ["a\r\n\nb\n"], lines: ["a", "", "b"] },
  { name: "a character in pieces", chunks: [euro.slice(0, 1), euro.slice(1)], lines: ["€"] },
])("readLines must give $name", async ({ chunks, lines }) => {
  expect(await linesOf(chunks)).toEqual(lines);
});

test("readLines must not gather a line without end", async () => {
  const lines = await linesOf(Array.from({ length: 10 }, () => "x".repeat(50_000)));
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(65_536);
  expect(lines.join("")).toBe("x".repeat(500_000));
});
