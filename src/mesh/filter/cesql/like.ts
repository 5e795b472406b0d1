/**
 * LIKE patterns → matchers (sheet cloudevents §7.4): `%` any run, `_` one character, `\%` and `\_` literal; the
 * whole string, case-sensitive, by code point.
 *
 * Time is linear in the text whatever the pattern: the common shapes are string primitives, everything else
 * runs as a bit-parallel automaton (one bit per pattern position), so no pattern can backtrack.
 */

/** Compiles once; the matcher is pure. */
export function compileLike(pattern: string): (text: string) => boolean {
  return shapeMatcher(pattern) ?? automaton(parsePattern(pattern));
}

/** The literal text before the first wildcard, and whether the pattern is nothing but it. */
export function literalPrefix(pattern: string): { readonly literal: string; readonly whole: boolean } {
  let literal = "";
  for (const element of parsePattern(pattern)) {
    if (typeof element !== "number") return { literal, whole: false };
    literal += String.fromCodePoint(element);
  }
  return { literal, whole: true };
}

/** A code point, any run, or any one character. */
type Element = number | "run" | "one";

function parsePattern(pattern: string): Element[] {
  const elements: Element[] = [];
  for (let i = 0; i < pattern.length; ) {
    const next = pattern.charAt(i + 1);
    if (pattern.charAt(i) === "\\" && (next === "%" || next === "_")) {
      elements.push(next.charCodeAt(0));
      i += 2;
      continue;
    }
    const point = pattern.codePointAt(i) ?? 0;
    if (point === 0x25) elements.push("run");
    else elements.push(point === 0x5f ? "one" : point);
    i += point > 0xffff ? 2 : 1;
  }
  return elements;
}

/** `indexOf` may compare the needle at every position; the bound keeps that linear. */
const containsLengthMax = 64;

/** `a`, `a%`, `%a`, `a%b`, `%a%`. A half surrogate could match inside a character, so it takes the long way. */
function shapeMatcher(pattern: string): ((text: string) => boolean) | undefined {
  if (!pattern.isWellFormed()) return undefined;
  const pieces: string[] = [""];
  for (const element of parsePattern(pattern)) {
    if (element === "one") return undefined;
    if (element === "run") pieces.push("");
    else pieces.push((pieces.pop() ?? "") + String.fromCodePoint(element));
  }
  const [first = "", second = "", third] = pieces;
  if (pieces.length === 1) return (text) => text === first;
  if (pieces.length === 2) {
    if (second === "") return (text) => text.startsWith(first);
    if (first === "") return (text) => text.endsWith(second);
    const lengthMin = first.length + second.length;
    return (text) => text.length >= lengthMin && text.startsWith(first) && text.endsWith(second);
  }
  const isContains =
    pieces.length === 3 && first === "" && third === "" && second.length <= containsLengthMax;
  return isContains ? (text) => text.includes(second) : undefined;
}

/**
 * State i = "the first i characters of the pattern are matched"; a run makes its state keep itself. All states
 * live in one bit set and move together, one step per character of the text.
 */
function automaton(elements: readonly Element[]): (text: string) => boolean {
  const characters = elements.filter((element) => element !== "run");
  const words = (characters.length >> 5) + 1;
  const bitSet = () => new Uint32Array(words);
  const stays = bitSet();
  const anyCharacter = bitSet();
  const steps = new Map<number, Uint32Array>();
  let state = 0;
  for (const element of elements) {
    if (element === "run") setBit(stays, state);
    else if (element === "one") setBit(anyCharacter, state++);
    else {
      const step = steps.get(element) ?? bitSet();
      steps.set(element, step);
      setBit(step, state++);
    }
  }
  for (const step of steps.values())
    for (let w = 0; w < words; w++) step[w] = at(step, w) | at(anyCharacter, w);
  return (text) => {
    let now = bitSet();
    let next = bitSet();
    setBit(now, 0);
    for (let i = 0; i < text.length; ) {
      const point = text.codePointAt(i) ?? 0;
      i += point > 0xffff ? 2 : 1;
      const step = steps.get(point) ?? anyCharacter;
      let carry = 0;
      let alive = 0;
      for (let w = 0; w < words; w++) {
        const moved = at(now, w) & at(step, w);
        const word = (moved << 1) | carry | (at(now, w) & at(stays, w));
        carry = moved >>> 31;
        next[w] = word;
        alive |= word;
      }
      if (alive === 0) return false;
      [now, next] = [next, now];
    }
    return (at(now, state >> 5) & (1 << (state & 31))) !== 0;
  };
}

function setBit(bits: Uint32Array, index: number): void {
  bits[index >> 5] = at(bits, index >> 5) | (1 << (index & 31));
}

function at(bits: Uint32Array, word: number): number {
  return bits[word] ?? 0;
}
