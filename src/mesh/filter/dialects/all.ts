/** `all`: every element passes; stops at the first that does not. */
import { type Compiled, type Match, matching, noFilter, problem, problemsWithin } from "../compiled.ts";

export function compileAll(children: readonly Compiled[]): Compiled {
  if (children.length === 0) return problem("all", "expected at least one filter, found an empty list");
  const problems = problemsWithin("all", children);
  if (problems !== undefined) return problems;
  const matches = children.flatMap((child) => (child.kind === "match" ? [child.match] : []));
  return matches.length === 0 ? noFilter : matching(everyOf(matches));
}

/** AND over closures; none passes everything. */
export function everyOf(matches: readonly Match[]): Match {
  const [first, second] = matches;
  if (first === undefined) return () => true;
  if (second === undefined) return first;
  if (matches.length === 2) return (attributes) => first(attributes) && second(attributes);
  return (attributes) => {
    for (const match of matches) if (!match(attributes)) return false;
    return true;
  };
}
