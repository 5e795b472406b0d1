/**
 * `weft.dev/*`: everything weft knows beyond Knative's fields lives in annotations, so that the same manifest
 * stays valid for any other broker class (DESIGN §4). Each is declared once here: name, kinds, check, default.
 */
import { parseDuration } from "../duration.ts";
import { type FieldError, forbiddenField, invalidValue } from "./field-error.ts";
import { parseSettings } from "./request-reply.ts";
import { parseRewind, parseStartPoint, START_POINT_WANTED } from "./start-point.ts";

export const WEFT_PREFIX = "weft.dev/";

export const CONCURRENCY = "weft.dev/concurrency";
export const CONCURRENCY_DEFAULT = 100;
export const CONCURRENCY_MAX = 10_000;

export const HOPS_MAX = "weft.dev/max-hops";
export const HOPS_MAX_DEFAULT = 64;

export const JOURNAL = "weft.dev/journal";
export const PAUSED = "weft.dev/paused";
/** On a Broker: `off`, or how long a repeated (source, id) is a duplicate. */
export const DEDUPE = "weft.dev/dedupe";
/** On a Trigger: where it starts. Says nothing any more once it has started. */
export const START = "weft.dev/start";
/** On a Trigger: what `weft rewind` wrote. */
export const REWIND = "weft.dev/rewind";
export const DATA_FILTER = "weft.dev/data-filter";
export const ORDER = "weft.dev/order";
/** On a Trigger: what its RequestReply wrote. */
export const REQUEST_REPLY_ROUTE = "weft.dev/request-reply";
/** On a Service's template: the digest of the code, `sha256:<hex>`. */
export const BUNDLE = "weft.dev/bundle";
/** The manifest file an object came from. */
export const MANIFEST = "weft.dev/manifest";
/** What was last applied from that file. */
export const APPLIED = "weft.dev/applied";

const DEDUPE_MS_MIN = 100;
const DEDUPE_MS_MAX = 7 * 86_400_000;

/** The window in milliseconds, 0 for none; undefined when the text is neither. */
export function parseDedupe(text: string): number | undefined {
  if (text === "off") return 0;
  const ms = parseDuration(text);
  return ms === undefined || ms < DEDUPE_MS_MIN || ms > DEDUPE_MS_MAX ? undefined : Math.round(ms);
}

interface Rule {
  readonly kinds: readonly string[];
  readonly accepts: (value: string) => boolean;
  readonly wants: string;
}

const any: readonly string[] = ["Broker", "Trigger", "RequestReply", "Service"];

const rules: Readonly<Record<string, Rule>> = {
  [CONCURRENCY]: { kinds: ["Trigger"], ...wholeNumber(1, CONCURRENCY_MAX) },
  [HOPS_MAX]: { kinds: ["Broker"], ...wholeNumber(1, 255) },
  [JOURNAL]: { kinds: ["Broker"], ...oneOf("all", "failures") },
  [PAUSED]: { kinds: ["Trigger"], ...oneOf("true", "false") },
  [DEDUPE]: {
    kinds: ["Broker"],
    accepts: (value) => parseDedupe(value) !== undefined,
    wants: '"off" or an ISO 8601 duration from PT0.1S to P7D',
  },
  [START]: {
    kinds: ["Trigger"],
    accepts: (value) => parseStartPoint(value, 0) !== undefined,
    wants: START_POINT_WANTED,
  },
  [REWIND]: {
    kinds: ["Trigger"],
    accepts: (value) => parseRewind(value) !== undefined,
    wants: "seq:<number>@<RFC 3339>",
  },
  [DATA_FILTER]: { kinds: ["Trigger"], accepts: (value) => value !== "", wants: "an expression" },
  [ORDER]: { kinds: ["Trigger"], ...oneOf("key") },
  [REQUEST_REPLY_ROUTE]: {
    kinds: ["Trigger"],
    accepts: (value) => parseSettings(value) !== undefined,
    wants: "what a RequestReply wrote",
  },
  [BUNDLE]: {
    kinds: ["Service"],
    accepts: (value) => /^sha256:[0-9a-f]{64}$/.test(value),
    wants: "sha256:<64 hex digits>",
  },
  [MANIFEST]: { kinds: any, accepts: () => true, wants: "a file name" },
  [APPLIED]: { kinds: any, accepts: () => true, wants: "what weft wrote" },
};

/**
 * Faults in the `weft.dev/*` annotations of a `kind`. A name nobody knows is refused on Brokers and Triggers,
 * where a slip of the pen would be silent; Services may carry what a function's own tools put there.
 */
export function validateAnnotations(
  kind: string,
  annotations: Readonly<Record<string, string>> | undefined,
  path = "metadata.annotations",
): FieldError[] {
  return Object.entries(annotations ?? {})
    .filter(([name]) => name.startsWith(WEFT_PREFIX))
    .flatMap(([name, value]) => {
      const field = `${path}[${name}]`;
      const rule = rules[name];
      if (rule === undefined) return kind === "Service" ? [] : [unknownAnnotation(kind, field)];
      if (!rule.kinds.includes(kind)) return [forbiddenField(field, `it belongs on a ${rule.kinds[0]}`)];
      return rule.accepts(value) ? [] : [invalidValue(field, value, `expected ${rule.wants}`)];
    });
}

/** The whole number an annotation holds, or `fallback` when it is absent. */
export function numberAnnotation(
  annotations: Readonly<Record<string, string>> | undefined,
  name: string,
  fallback: number,
): number {
  const text = annotations?.[name];
  return text === undefined ? fallback : Number(text);
}

function unknownAnnotation(kind: string, field: string): FieldError {
  const known = Object.keys(rules).filter((name) => rules[name]?.kinds.includes(kind));
  return forbiddenField(field, `a ${kind} knows ${known.join(", ")}`);
}

function wholeNumber(min: number, max: number): Pick<Rule, "accepts" | "wants"> {
  return {
    accepts: (value) => /^\d{1,9}$/.test(value) && Number(value) >= min && Number(value) <= max,
    wants: `a whole number from ${min} to ${max}`,
  };
}

function oneOf(...values: readonly string[]): Pick<Rule, "accepts" | "wants"> {
  return { accepts: (value) => values.includes(value), wants: values.map((v) => `"${v}"`).join(" or ") };
}
