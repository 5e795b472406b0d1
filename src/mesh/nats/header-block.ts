/** The headers of a NATS message, read once into `[name, value, …]`: no map of lists for a handful of lines. Pure. */

export class HeaderBlock {
  /** In their order; a name may be there several times. */
  readonly raw: readonly string[];

  /** `text`: from `NATS/1.0` to the empty line. What is no line of a name and a value is left out, as nats.js does. */
  constructor(text: string) {
    const raw: string[] = [];
    let at = text.indexOf("\r\n") + 2;
    while (at > 1 && at < text.length) {
      const next = text.indexOf("\r\n", at);
      const end = next === -1 ? text.length : next;
      const colon = text.indexOf(":", at);
      if (colon !== -1 && colon < end) raw.push(text.slice(at, colon), text.slice(colon + 1, end).trim());
      at = end + 2;
    }
    this.raw = raw;
  }

  /** The first value of a name, in exactly this case; empty when there is none. */
  get(name: string): string {
    for (let at = 0; at < this.raw.length; at += 2) {
      if (this.raw[at] === name) return this.raw[at + 1] ?? "";
    }
    return "";
  }
}

export const noHeaders: HeaderBlock = new HeaderBlock("");
