/** Where a header is in the head of a message: nearly always where it was in the one before. */
import { Buffer } from "node:buffer";

const [carriageReturn, space, zero] = [0x0d, 0x20, 0x30];
/** What letters of different case differ by. */
const caseBit = 0x20;

export class Header {
  /** How the line begins, with the end of the one before. */
  readonly #start: string;
  readonly #startBytes: Buffer;
  #last = 0;

  constructor(lowerCaseName: string) {
    this.#start = `\r\n${lowerCaseName}:`;
    this.#startBytes = Buffer.from(this.#start, "latin1");
  }

  /** Without the spaces around it; undefined when there is none. */
  text(head: Buffer): string | undefined {
    const from = this.#valueStart(head);
    return from === -1 ? undefined : head.toString("latin1", from, head.indexOf("\r", from)).trim();
  }

  /** Of digits alone; undefined when there is none. */
  number(head: Buffer): number | undefined {
    let at = this.#valueStart(head);
    if (at === -1) return undefined;
    while (head[at] === space) at++;
    let value = 0;
    for (let byte = head[at]; byte !== undefined && byte !== carriageReturn; byte = head[++at]) {
      value = value * 10 + byte - zero;
    }
    return value;
  }

  #valueStart(head: Buffer): number {
    if (!this.#isAt(head, this.#last)) {
      const at = head.toString("latin1").toLowerCase().indexOf(this.#start);
      if (at === -1) return -1;
      this.#last = at;
    }
    return this.#last + this.#startBytes.length;
  }

  #isAt(head: Buffer, at: number): boolean {
    for (let i = 0; i < this.#startBytes.length; i++) {
      const [wanted, found] = [this.#startBytes[i], head[at + i]];
      if (found !== wanted && (found === undefined || (found | caseBit) !== wanted)) return false;
    }
    return true;
  }
}
