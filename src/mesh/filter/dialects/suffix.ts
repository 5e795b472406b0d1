/** `suffix`: every listed attribute is present and ends with its value, case-sensitively. */
import { type AttributeMap, attributeMapProblems, attributeReader } from "../attributes.ts";
import { type Compiled, matching, problem } from "../compiled.ts";
import { everyOf } from "./all.ts";

export function compileSuffix(map: AttributeMap): Compiled {
  const problems = attributeMapProblems(map);
  if (problems.length > 0) return problem("suffix", ...problems);
  return matching(
    everyOf(
      Object.entries(map).map(([name, expected]) => {
        const read = attributeReader(name);
        return (attributes) => read(attributes)?.endsWith(expected) === true;
      }),
    ),
  );
}
