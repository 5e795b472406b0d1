import { describe, expect, test } from "vitest";
import { formatFunctionLine } from "../../../src/mesh/cli/function-line.ts";

const at = { nowMs: Date.parse("2026-01-02T03:04:05.678Z"), workingDirectory: "/home/ada/shop" };

function format(line: string, stream: "stdout" | "stderr" = "stdout"): string {
  return formatFunctionLine(
    { namespace: "default", service: "price", revision: "price-00001", instance: "i", stream, line },
    at,
  );
}

describe("formatFunctionLine", () => {
  test.each([
    ["plain text", "Invoice 7", "03:04:05.678  price | Invoice 7"],
    ["text that only looks like JSON", "{oops", "03:04:05.678  price | {oops"],
    ["JSON that is no log line", '{"a":1}', '03:04:05.678  price | {"a":1}'],
    [
      "a log line, with its own fields only",
      '{"time":"t","level":"info","msg":"order priced","event":"1","attempt":1,"order":"A-1","cents":5}',
      "03:04:05.678  price | order priced  order=A-1  cents=5",
    ],
    [
      "an error, with its place in the function",
      JSON.stringify({
        level: "error",
        msg: "handler threw",
        error: {
          message: "no price",
          stack:
            "Error: no price\n at x (/home/ada/shop/node_modules/p/i.js:1:1)\n at f (/home/ada/shop/functions/price.ts:36:15)",
        },
      }),
      "03:04:05.678  price ! handler threw: no price (functions/price.ts:36:15)",
    ],
  ])("shows %s", (_what, line, wanted) => {
    expect(format(line)).toBe(wanted);
  });

  test("marks what went to stderr", () => {
    expect(format("careful", "stderr")).toBe("03:04:05.678  price ! careful");
  });
});
