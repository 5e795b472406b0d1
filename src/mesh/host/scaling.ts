/**
 * How a revision wants to be scaled: `autoscaling.knative.dev/*` annotations plus containerConcurrency, with
 * Knative's names, defaults and limits. What is out of bounds is a problem in words and the default applies.
 */

export interface ScalingSpec {
  readonly metric: "concurrency" | "rps";
  /** Per instance, before utilisation. */
  readonly total: number;
  /** Fraction of `total` aimed at. */
  readonly utilization: number;
  /** Leases per instance at once: containerConcurrency, or the target when that is unlimited. */
  readonly concurrencyMax: number;
  readonly windowMs: number;
  readonly panicWindowMs: number;
  /** Ratio of wanted to ready instances at which panic begins. */
  readonly panicThreshold: number;
  readonly scaleDownDelayMs: number;
  readonly retentionMs: number;
  readonly minScale: number;
  /** 0 is unlimited; the machine cap still holds. */
  readonly maxScale: number;
  readonly activationScale: number;
  /** Only reported (status, excess burst capacity): this host is always in the path. */
  readonly targetBurstCapacity: number;
}

export const scaleUpRateMax = 1000;
export const scaleDownRateMax = 2;
const concurrencyTargetDefault = 100;
const rpsTargetDefault = 200;

export function parseScaling({
  annotations,
  containerConcurrency,
  windowMs: windowDefaultMs,
}: {
  readonly annotations: Readonly<Record<string, string>>;
  readonly containerConcurrency: number;
  /** When the annotation `window` says nothing. */
  readonly windowMs: number;
}): { spec: ScalingSpec; problems: string[] } {
  const problems: string[] = [];

  function read<T>(name: string, fallback: T, parse: (text: string) => T | undefined, expected: string): T {
    const [key, text] = find(annotations, name);
    if (text === undefined) return fallback;
    const value = parse(text);
    if (value !== undefined) return value;
    problems.push(`${key}: expected ${expected}, found "${text}"; the default ${String(fallback)} applies`);
    return fallback;
  }
  const number = (name: string, fallback: number, min: number, max: number) =>
    read(
      name,
      fallback,
      (text) => inRange(Number(text || "NaN"), min, max),
      `a number from ${min} to ${max}`,
    );
  const integer = (name: string, fallback: number, min: number, max = 2_147_483_647) =>
    read(
      name,
      fallback,
      (text) => (/^-?\d+$/.test(text) ? inRange(Number(text), min, max) : undefined),
      `a whole number from ${min}`,
    );
  const duration = (name: string, fallbackMs: number, minMs: number, maxMs: number) =>
    read(
      name,
      fallbackMs,
      (text) => inRange(parseGoDuration(text) ?? Number.NaN, minMs, maxMs),
      `a duration such as 90s, from ${minMs / 1000}s to ${maxMs / 1000}s`,
    );

  const metric = read<"concurrency" | "rps">(
    "metric",
    "concurrency",
    (text) => (text === "concurrency" || text === "rps" ? text : undefined),
    "concurrency or rps",
  );
  const totalDefault = metric === "rps" ? rpsTargetDefault : containerConcurrency || concurrencyTargetDefault;
  const target = number("target", totalDefault, 0.01, 1_000_000);
  const limited = metric === "concurrency" && containerConcurrency > 0;
  const total = limited ? Math.min(target, containerConcurrency) : target;
  const windowMs = duration("window", windowDefaultMs, 6000, 3_600_000);
  const panicPercent = number("panic-window-percentage", 10, 1, 100);
  const minScale = integer("min-scale", 0, 0);
  const spec: ScalingSpec = {
    metric,
    total,
    utilization: number("target-utilization-percentage", 70, 1, 100) / 100,
    concurrencyMax:
      containerConcurrency > 0
        ? containerConcurrency
        : metric === "concurrency"
          ? Math.max(1, Math.ceil(total))
          : concurrencyTargetDefault,
    windowMs,
    panicWindowMs: Math.max(1000, Math.round((windowMs * panicPercent) / 100 / 1000) * 1000),
    panicThreshold: number("panic-threshold-percentage", 200, 110, 1000) / 100,
    scaleDownDelayMs: duration("scale-down-delay", 0, 0, 3_600_000),
    retentionMs: duration("scale-to-zero-pod-retention-period", 0, 0, 3_600_000),
    minScale,
    maxScale: integer("max-scale", 0, 0),
    activationScale: integer("activation-scale", 1, 2),
    targetBurstCapacity: number("target-burst-capacity", 211, -1, 1_000_000),
  };
  if (spec.maxScale > 0 && spec.maxScale < minScale) {
    problems.push(
      `max-scale: expected at least min-scale ${minScale}, found ${spec.maxScale}; it is ignored`,
    );
    return { spec: { ...spec, maxScale: 0 }, problems };
  }
  return { spec, problems };
}

/** Go's syntax: "1m5s", "0s", "1.5h". undefined when it is none. */
export function parseGoDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|h|m|s))+$/.test(text)) return undefined;
  const unitMs: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? 0);
  }
  return totalMs;
}

/** Kebab-case, or Knative's camelCase alias. */
function find(annotations: Readonly<Record<string, string>>, name: string): [string, string | undefined] {
  const prefix = "autoscaling.knative.dev/";
  const alias = name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const key = annotations[prefix + name] === undefined ? alias : name;
  return [key, annotations[prefix + key]];
}

function inRange(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}
