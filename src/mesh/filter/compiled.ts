/**
 * What compiling one filter element comes to. Kept apart from filter.ts so that a dialect knows only this.
 *
 * C1  a problem anywhere inside an element makes the whole element a problem: it then matches nothing, not
 *     even under `not`.
 * C2  "none" is Knative's NoFilter (`cesql: ""`): it passes, and stays so under `not`.
 */
import type { Attributes } from "../event/event.ts";

/** A compiled filter. Pure and fast; never throws; a failed evaluation is `false`. */
export type Match = (attributes: Attributes) => boolean;

/** Why an element cannot be evaluated; `path` leads from the element to the fault, as in `all[1].cesql`. */
export interface FilterProblem {
  readonly path: string;
  readonly message: string;
}

export type Compiled =
  | { readonly kind: "match"; readonly match: Match }
  | { readonly kind: "none" }
  | { readonly kind: "problem"; readonly problems: readonly FilterProblem[] };

export function matching(match: Match): Compiled {
  return { kind: "match", match };
}

export const noFilter: Compiled = { kind: "none" };

export function problem(path: string, ...messages: string[]): Compiled {
  return { kind: "problem", problems: messages.map((message) => ({ path, message })) };
}

/** All faults of the children under `path[i]`, or undefined when there are none. */
export function problemsWithin(path: string, children: readonly Compiled[]): Compiled | undefined {
  const problems = children.flatMap((child, i) =>
    child.kind === "problem" ? child.problems.map((fault) => nested(`${path}[${i}]`, fault)) : [],
  );
  return problems.length === 0 ? undefined : { kind: "problem", problems };
}

/** The same fault seen from one level further out. */
export function nested(prefix: string, fault: FilterProblem): FilterProblem {
  return { path: fault.path === "" ? prefix : `${prefix}.${fault.path}`, message: fault.message };
}
