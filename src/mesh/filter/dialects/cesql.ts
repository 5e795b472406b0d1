/** `cesql`: the expression is `true` without errors. An empty one is no filter (as Knative). */
import { compileCesql } from "../cesql/compile.ts";
import { type Compiled, matching, noFilter, problem } from "../compiled.ts";

export function compileCesqlDialect(source: string): Compiled {
  if (source === "") return noFilter;
  if (typeof source !== "string") return problem("cesql", `expected a string, found ${typeof source}`);
  const compiled = compileCesql(source);
  return compiled.ok ? matching(compiled.match) : problem("cesql", compiled.message);
}
