import { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { describe, expect, test } from "vitest";
import { answerTo, lineLengthMax, runFilterEval } from "../../../src/mesh/cli/filter-eval.ts";

function collector(highWaterMark = 16_384): { output: Writable; lines: () => Promise<unknown[]> } {
  let text = "";
  const output = new Writable({
    highWaterMark,
    write(chunk, _encoding, done) {
      text += chunk;
      setImmediate(done);
    },
  });
  return {
    output,
    async lines() {
      output.end();
      await finished(output);
      return text
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line));
    },
  };
}

const generic = { value: false, errors: ["generic"], message: expect.any(String) };

describe("answerTo must evaluate one line", () => {
  test.each([
    [
      { expression: "id = 'x'", event: { id: "x" } },
      { value: true, errors: [] },
    ],
    [
      { expression: "flag", event: { flag: true } },
      { value: true, errors: [] },
    ],
    [
      { expression: "n + 1", event: { n: 41 } },
      { value: 42, errors: [] },
    ],
    [
      { expression: "n = '3000000000'", event: { n: 3_000_000_000 } },
      { value: true, errors: [] },
    ],
    [
      { expression: "EXISTS gone", event: { gone: null } },
      { value: false, errors: [] },
    ],
    [
      { expression: "EXISTS data", event: { data: "x" } },
      { value: false, errors: [] },
    ],
    [
      { expression: "EXISTS nested", event: { nested: { a: 1 } } },
      { value: false, errors: [] },
    ],
    [
      { expression: "'x' + 1", event: {} },
      { value: 0, errors: ["cast"] },
    ],
    [
      { expression: "gone", event: {} },
      { value: false, errors: ["missingAttribute"] },
    ],
    [{ expression: "1 / 0" }, { value: 0, errors: ["math"] }],
    [
      { expression: "id =", event: {} },
      { value: false, errors: ["parse"], message: expect.stringContaining("offset 4") },
    ],
    [
      { expression: "data_base64 = 'x'", event: { data_base64: "x" } },
      { value: false, errors: ["parse"], message: expect.any(String) },
    ],
    [{ event: {} }, generic],
    [
      { expression: -10, event: {} },
      { value: -10, errors: [] },
    ],
    [{ expression: true }, { value: true, errors: [] }],
    [{ expression: ["TRUE"], event: {} }, generic],
    [{ expression: "TRUE", event: [] }, generic],
    [{ expression: "TRUE", event: null }, generic],
    [[], generic],
    [null, generic],
  ])("%j", (request, answer) => {
    expect(answerTo(JSON.stringify(request))).toEqual(answer);
  });

  test.each(["", "{", "nonsense", '{"expression": "TRUE"} x'])("bad JSON %j", (line) => {
    expect(answerTo(line)).toEqual(generic);
  });

  test("members named like object internals are only members", () => {
    expect(answerTo('{"expression": "EXISTS constructor", "event": {"__proto__": {"x": 1}}}').value).toBe(
      false,
    );
    expect(answerTo('{"expression": "constructor = 5", "event": {"constructor": 5}}').value).toBe(true);
  });
});

describe("runFilterEval must answer every line in order", () => {
  test("through chunks that cut lines and characters", async () => {
    const lines = ["😀", "é", "x"].map((text) =>
      JSON.stringify({ expression: `id = '${text}'`, event: { id: text } }),
    );
    const bytes = new TextEncoder().encode(`${lines.join("\r\n")}\n\nlast`);
    const chunks = Array.from(bytes, (byte) => Uint8Array.of(byte));
    const { output, lines: answers } = collector(16);
    expect(await runFilterEval(Readable.from(chunks), output)).toBe(0);
    const yes = { value: true, errors: [] };
    expect(await answers()).toEqual([yes, yes, yes, generic, generic]);
  });

  test("skipping a line that is too long", async () => {
    const long = "x".repeat(lineLengthMax / 2);
    async function* input() {
      yield '{"expression": "TRUE"}\n';
      for (let i = 0; i < 5; i++) yield long;
      yield '\n{"expression": "FALSE"}\n';
      for (let i = 0; i < 3; i++) yield long;
    }
    const { output, lines } = collector();
    expect(await runFilterEval(input(), output)).toBe(0);
    expect(await lines()).toEqual([
      { value: true, errors: [] },
      generic,
      { value: false, errors: [] },
      generic,
    ]);
  });
});
