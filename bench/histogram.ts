/** Latencies in microseconds, by percentile; buckets about 2 % wide, so memory does not grow with the count. */
export class Histogram {
  readonly #buckets = new Uint32Array(bucketsMax);
  #count = 0;
  #max = 0;

  add(us: number): void {
    const bucket = us <= 1 ? 0 : Math.min(bucketsMax - 1, Math.floor(Math.log(us) / stepLog));
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
    if (us > this.#max) this.#max = us;
  }

  get count(): number {
    return this.#count;
  }

  /** Milliseconds; `share` in 0…1. */
  percentileMs(share: number): number {
    const wanted = Math.ceil(this.#count * share);
    let seen = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) {
        return round(Math.min(this.#max, Math.exp((bucket + 1) * stepLog)) / 1000);
      }
    }
    return 0;
  }

  summary(): Latency {
    return {
      count: this.#count,
      p50: this.percentileMs(0.5),
      p99: this.percentileMs(0.99),
      p999: this.percentileMs(0.999),
      max: round(this.#max / 1000),
    };
  }
}

export interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const stepLog = Math.log(1.02);
/** The last one is for everything from a quarter of an hour on. */
const bucketsMax = Math.ceil(Math.log(15 * 60 * 1e6) / stepLog);

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
