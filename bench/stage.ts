/** Which stage of an event's way a stack of the profiler belongs to (pure). */

export const stages = [
  "HTTP in",
  "decode",
  "publish",
  "consume",
  "filter",
  "HTTP out",
  "settle",
  "journal",
  "NATS client, for whomever",
  "garbage collection",
  "other",
] as const;
export type Stage = (typeof stages)[number];

export interface Frame {
  readonly functionName: string;
  readonly url: string;
}

/** By path below `src/mesh/`; the first that matches counts. */
const weftStages: readonly (readonly [RegExp, Stage])[] = [
  [/^(?:ingress\/|listen\.ts|http1\/plain-)/, "HTTP in"],
  [/^stream\/(?:publish|event-store|outbox|guard|guard-decision|subjects|delayed)\.ts/, "publish"],
  [/^dispatch\/(?:send|https|call|deliver)\.ts/, "HTTP out"],
  [
    /^http1\/(?:answer-head|answer-reader|client|connection|gathered-body|line|origin|pending-post|request-head)\.ts/,
    "HTTP out",
  ],
  [/^dispatch\/(?:settle|dead-letter|reply-event|mover)\.ts/, "settle"],
  [/^(?:stream|dispatch)\//, "consume"],
  [/^(?:filter|routes)\//, "filter"],
  [/^journal\//, "journal"],
];
/** Reading and writing events and the smallest tools: they work for whoever calls them. */
const tools = /^(?:event\/|http1\/fields\.ts|(?:clock|duration|errors|lifecycle|log)\.ts)/;
const events = /^event\//;

const libraryStages: readonly (readonly [RegExp, Stage])[] = [
  [/\/undici\/|^node:internal\/deps\/undici/, "HTTP out"],
  [/\/(?:hono|@hono)\/|^node:_http_(?:server|incoming|outgoing|common)|^node:http$/, "HTTP in"],
  [/\/@nats-io\//, "NATS client, for whomever"],
];

/** `stack`: innermost frame first, as the profile has them. */
export function stageOf(stack: readonly Frame[]): Stage | "idle" {
  const leaf = stack[0]?.functionName;
  if (leaf === "(idle)") return "idle";
  if (leaf === "(garbage collector)") return "garbage collection";
  return stageOfWeft(stack) ?? stageOfLibrary(stack) ?? "other";
}

function stageOfWeft(stack: readonly Frame[]): Stage | undefined {
  let workedOnEvent = false;
  for (const { url } of stack) {
    const path = /\/src\/mesh\/(.*)$/.exec(url)?.[1];
    if (path === undefined) continue;
    if (tools.test(path)) {
      workedOnEvent ||= events.test(path);
      continue;
    }
    const stage = first(weftStages, path) ?? "other";
    return stage === "HTTP in" && workedOnEvent ? "decode" : stage;
  }
  return workedOnEvent ? "decode" : undefined;
}

function stageOfLibrary(stack: readonly Frame[]): Stage | undefined {
  for (const { url } of stack) {
    const stage = first(libraryStages, url);
    if (stage !== undefined) return stage;
  }
  return undefined;
}

function first(table: readonly (readonly [RegExp, Stage])[], text: string): Stage | undefined {
  return table.find(([pattern]) => pattern.test(text))?.[1];
}
