/**
 * The front door of CESQL v1: parse once, keep the closure. Text that does not parse is a value here, for
 * admission to refuse; at run time an expression yields a value and at most one error (fail-fast).
 */
import type { Attributes } from "../../event/event.ts";
import type { Match } from "../compiled.ts";
import type { Node, Value } from "./ast.ts";
import { type ErrorKind, isFailure, type Outcome } from "./cast.ts";
import { warningsOf } from "./check.ts";
import { compileNode } from "./evaluate.ts";
import { type AttributeValues, attributeIdentifiers } from "./identifiers.ts";
import { parse } from "./parser.ts";

export interface Evaluation {
  readonly value: Value;
  /** Empty, or the one error that ended the evaluation. */
  readonly errors: readonly ErrorKind[];
}

export type CompiledCesql =
  | {
      readonly ok: true;
      readonly node: Node;
      /** True only for the result `true` without errors. */
      readonly match: Match;
      readonly evaluate: (attributes: AttributeValues) => Evaluation;
      /** Advice for the author; the expression is usable all the same. */
      readonly warnings: readonly string[];
    }
  | {
      readonly ok: false;
      readonly message: string;
      /** 0-based offset of the fault. */
      readonly position: number;
    };

/** Never throws, whatever the text. */
export function compileCesql(source: string): CompiledCesql {
  const parsed = parse(source);
  if ("message" in parsed) {
    return {
      ok: false,
      message: `${parsed.message} at offset ${parsed.position}`,
      position: parsed.position,
    };
  }
  const { node, notes } = parsed;
  const run = compileNode(node, attributeIdentifiers);
  return {
    ok: true,
    node,
    match: (attributes: Attributes) => run(attributes) === true,
    evaluate: (attributes) => evaluationOf(run(attributes)),
    warnings: [...notes, ...warningsOf(node)],
  };
}

/** What is wrong with the text, for admission; undefined when it parses. */
export function checkCesql(expression: string): string | undefined {
  const compiled = compileCesql(expression);
  return compiled.ok ? undefined : compiled.message;
}

/** One evaluation of a text or a tree; for many events compile once instead. */
export function evaluate(expression: string | Node, attributes: AttributeValues): Evaluation {
  if (typeof expression !== "string") {
    return evaluationOf(compileNode(expression, attributeIdentifiers)(attributes));
  }
  const compiled = compileCesql(expression);
  return compiled.ok ? compiled.evaluate(attributes) : { value: false, errors: ["parse"] };
}

export function evaluationOf(outcome: Outcome): Evaluation {
  return isFailure(outcome)
    ? { value: outcome.value, errors: [outcome.error] }
    : { value: outcome, errors: [] };
}
