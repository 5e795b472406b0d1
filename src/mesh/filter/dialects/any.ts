/** `any`: at least one element passes; stops at the first that does. */
import { type Compiled, matching, noFilter, problem, problemsWithin } from "../compiled.ts";

export function compileAny(children: readonly Compiled[]): Compiled {
  if (children.length === 0) return problem("any", "expected at least one filter, found an empty list");
  const problems = problemsWithin("any", children);
  if (problems !== undefined) return problems;
  if (children.some((child) => child.kind === "none")) return noFilter;
  const matches = children.flatMap((child) => (child.kind === "match" ? [child.match] : []));
  return matching((attributes) => {
    for (const match of matches) if (match(attributes)) return true;
    return false;
  });
}
