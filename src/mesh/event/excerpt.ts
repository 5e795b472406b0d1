/** HOW a value at fault is shown: short, and harmless wherever it is printed. */

const charactersMax = 64;

/** The beginning of a text, printable in a log line or a terminal: everything but plain ASCII is escaped. */
export function excerptOf(text: string): string {
  const head = text.slice(0, charactersMax);
  const escaped = head.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, (character) =>
    character === '"' || character === "\\"
      ? `\\${character}`
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return text.length > head.length ? `${escaped}…` : escaped;
}
