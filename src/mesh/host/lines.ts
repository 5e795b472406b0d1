/** Cuts a stream of text into lines, each of a bounded length: a function may print without ever ending a line. */
import type { Readable } from "node:stream";

const lineCharactersMax = 64 * 1024;

/** Calls back per line, without its line end; an over-long one comes in pieces. What remains at the end is a line. */
export function readLines(source: Readable, onLine: (line: string) => void): void {
  let rest = "";
  source.setEncoding("utf8");
  source.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) emit(line);
    if (rest.length >= lineCharactersMax) {
      emit(rest);
      rest = "";
    }
  });
  source.once("end", () => {
    if (rest !== "") emit(rest);
  });

  function emit(line: string): void {
    const clean = line.endsWith("\r") ? line.slice(0, -1) : line;
    for (let at = 0; at < clean.length || at === 0; at += lineCharactersMax) {
      onLine(clean.slice(at, at + lineCharactersMax));
    }
  }
}
