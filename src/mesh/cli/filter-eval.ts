/**
 * `weft filter eval`: CESQL for scripts and conformance kits. JSON lines in, one JSON line out for each:
 *
 *   {"expression": "LENGTH(subject) > 3", "event": {…CloudEvents JSON…}}  →  {"value": true, "errors": []}
 *
 * V1  every line is answered, in order; a line that cannot be used is answered with `generic` and a message.
 * V2  attributes keep their JSON types; the event is read, not validated, so partial events are welcome.
 */
import { once } from "node:events";
import type { Writable } from "node:stream";
import { z } from "zod";
import { messageOf } from "../errors.ts";
import type { Value } from "../filter/cesql/ast.ts";
import { fromJson } from "../filter/cesql/cast.ts";
import { compileCesql, type Evaluation } from "../filter/cesql/compile.ts";
import type { AttributeValues } from "../filter/cesql/identifiers.ts";

/** UTF-16 units of one input line; a longer one is skipped and answered with `generic`. */
export const lineLengthMax = 8_388_608;

const requestSchema = z.looseObject({
  // Kits that keep their cases in YAML hand over `TRUE` and `10` as what they look like.
  expression: z.union([z.string(), z.number(), z.boolean()]).transform(String),
  event: z.record(z.string(), z.unknown()).default({}),
});

type Answer = Evaluation & { readonly message?: string };

/** Answers until the input ends; resolves to the exit code, which is 0 whatever the answers were. */
export async function runFilterEval(
  input: AsyncIterable<string | Uint8Array>,
  output: Writable,
): Promise<number> {
  for await (const line of linesOf(input)) {
    const answer =
      line === undefined ? unusable(`line longer than ${lineLengthMax} characters`) : answerTo(line);
    if (!output.write(`${JSON.stringify(answer)}\n`)) await once(output, "drain");
  }
  return 0;
}

/** The answer to one line. Never throws. */
export function answerTo(line: string): Answer {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    return unusable(`expected a JSON object: ${messageOf(error)}`);
  }
  const request = requestSchema.safeParse(json);
  if (!request.success) {
    return unusable(`expected {"expression": string, "event": object}: ${z.prettifyError(request.error)}`);
  }
  const compiled = compileCesql(request.data.expression);
  if (!compiled.ok) return { value: false, errors: ["parse"], message: compiled.message };
  return compiled.evaluate(typedAttributes(request.data.event));
}

/** Attributes with their JSON types; data is not addressable, and null means unset. */
function typedAttributes(event: Readonly<Record<string, unknown>>): AttributeValues {
  const attributes: Record<string, Value> = Object.create(null);
  for (const [name, member] of Object.entries(event)) {
    const value = fromJson(member);
    if (value !== undefined) attributes[name] = value;
  }
  return attributes;
}

function unusable(message: string): Answer {
  return { value: false, errors: ["generic"], message };
}

/** Lines without their ends; undefined stands for one that is too long. */
async function* linesOf(input: AsyncIterable<string | Uint8Array>): AsyncGenerator<string | undefined> {
  const decoder = new TextDecoder();
  let pending = "";
  let isTooLong = false;
  for await (const chunk of input) {
    const pieces = (typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true })).split("\n");
    const last = pieces.pop() ?? "";
    for (const piece of pieces) {
      const line = pending + piece;
      yield isTooLong || line.length > lineLengthMax ? undefined : line;
      pending = "";
      isTooLong = false;
    }
    pending += last;
    if (pending.length > lineLengthMax) isTooLong = true;
    if (isTooLong) pending = "";
  }
  pending += decoder.decode();
  if (isTooLong) yield undefined;
  else if (pending !== "") yield pending;
}
