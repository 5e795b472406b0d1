/** `not`: the element does not pass. A CESQL element that errs did not pass, so its negation does (as Knative). */
import { type Compiled, matching, nested } from "../compiled.ts";

export function compileNot(child: Compiled): Compiled {
  switch (child.kind) {
    case "match": {
      const { match } = child;
      return matching((attributes) => !match(attributes));
    }
    case "none":
      return child;
    case "problem":
      return { kind: "problem", problems: child.problems.map((fault) => nested("not", fault)) };
  }
}
