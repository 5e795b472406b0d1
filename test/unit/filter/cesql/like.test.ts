import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileLike, literalPrefix } from "../../../../src/mesh/filter/cesql/like.ts";

describe("compileLike must match the whole text", () => {
  test.each([
    ["abc", "abc", true],
    ["abc", "ab", false],
    ["abc", "abcd", false],
    ["abc", "ABC", false],
    ["", "", true],
    ["", "%", true],
    ["", "_", false],
    ["", "%%", true],
    ["abc", "%", true],
    ["abc", "a%", true],
    ["abc", "%c", true],
    ["abc", "%b%", true],
    ["abc", "a%c", true],
    ["ab", "ab%b", false],
    ["aba", "ab%ba", false],
    ["abba", "ab%ba", true],
    ["abc", "a_c", true],
    ["ac", "a_c", false],
    ["abbc", "a_c", false],
    ["a.b", "a.b", true],
    ["axb", "a.b", false],
    ["a%b", "a\\%b", true],
    ["axb", "a\\%b", false],
    ["a_b", "a\\_b", true],
    ["axb", "a\\_b", false],
    ["a\\b", "a\\b", true],
    ["a\\%", "a\\\\%", true],
    ["a\\xyz", "a\\\\%", false],
    ["a\\", "a\\", true],
    ["a%b%c", "a%b%c", true],
    ["%xa", "%a", true],
    ["\\abc", "\\%", false],
    ["\\Eabc", "\\E%", true],
    ["a\nb", "a%b", true],
    ["a\nb", "a_b", true],
    ["abcabcabd", "%ab_abd", true],
    ["mississippi", "m%iss%ip%", true],
    ["mississippi", "m%iss%ipx%", false],
    ["😀", "_", true],
    ["😀", "__", false],
    ["a😀b", "a_b", true],
    ["😀😀", "%_😀", true],
    ["😀", "\ud83d%", false],
    ["\ud83d", "\ud83d", true],
    ["😀", "%\ude00", false],
  ])("%j LIKE %j is %j", (text, pattern, expected) => {
    expect(compileLike(pattern)(text)).toBe(expected);
  });

  test.each([31, 32, 33, 63, 64, 65, 100])("patterns of %d positions", (size) => {
    const pattern = `${"a_".repeat(size).slice(0, size)}%z`;
    const text = `${"ab".repeat(size).slice(0, size)}xyz`;
    expect(compileLike(pattern)(text)).toBe(true);
    expect(compileLike(pattern)(`b${text.slice(1)}`)).toBe(false);
    expect(compileLike(pattern)(text.slice(0, -1))).toBe(false);
  });

  test("any pattern agrees with plain backtracking", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "%", "_", "\\", "😀"), maxLength: 12 });
    fc.assert(
      fc.property(text, text, (value, pattern) => {
        expect(compileLike(pattern)(value)).toBe(backtrack(Array.from(value), Array.from(pattern)));
      }),
      { seed: 7, numRuns: 5_000 },
    );
  });

  test("hostile patterns take time linear in the text", () => {
    const text = "a".repeat(500_000);
    expect(compileLike(`${"%a".repeat(50)}%b`)(text)).toBe(false);
    expect(compileLike(`%${"a".repeat(60)}_b%`)(text)).toBe(false);
    expect(compileLike(`%b${"a".repeat(60)}%`)(text)).toBe(false);
  });
});

test.each([
  ["a.b.%", "a.b.", false],
  ["abc", "abc", true],
  ["a\\%b_", "a%b", false],
  ["%", "", false],
  ["", "", true],
])("literalPrefix must read %j", (pattern, literal, whole) => {
  expect(literalPrefix(pattern)).toEqual({ literal, whole });
});

function backtrack(text: readonly string[], pattern: readonly string[]): boolean {
  const [head, ...rest] = pattern;
  if (head === undefined) return text.length === 0;
  if (head === "%") return text.some((_, i) => backtrack(text.slice(i), rest)) || backtrack([], rest);
  if (head === "_") return text.length > 0 && backtrack(text.slice(1), rest);
  const isEscape = head === "\\" && (rest[0] === "%" || rest[0] === "_");
  const literal = isEscape ? rest[0] : head;
  return text[0] === literal && backtrack(text.slice(1), isEscape ? rest.slice(1) : rest);
}
