/** `--rate 10/s`: how many a second, and the pauses that keep to it. */
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";

const secondsPer: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** `10`, `10/s`, `90/m`, `100/h` → events a second; undefined for no limit. Throws CONFIG_INVALID. */
export function parseRate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, count, unit = "s"] = /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(text.trim()) ?? [];
  const perSecond = Number(count) / (secondsPer[unit] ?? 1);
  if (perSecond > 0) return perSecond;
  throw new MeshError("CONFIG_INVALID", {
    field: "--rate",
    expected: "e.g. 10/s, 90/m or 100/h",
    found: text,
  });
}

/** The items, one at a time, no faster than that; ends early when `stop` aborts. */
export async function* paced<T>(
  items: readonly T[],
  { perSecond, clock, stop }: { perSecond: number | undefined; clock: Clock; stop: AbortSignal },
): AsyncGenerator<T> {
  for (const [i, item] of items.entries()) {
    if (i > 0 && perSecond !== undefined) await clock.sleep(1000 / perSecond, stop);
    if (stop.aborted) return;
    yield item;
  }
}
