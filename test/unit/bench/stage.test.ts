import { expect, test } from "vitest";
import { stageOf } from "../../../bench/stage.ts";

const weft = (path: string) => ({ functionName: "f", url: `file:///x/src/mesh/${path}` });
const library = (url: string) => ({ functionName: "g", url });
const undici = library("file:///x/node_modules/undici/lib/dispatcher/client-h1.js");
const nats = library("file:///x/node_modules/@nats-io/nats-core/lib/parser.js");
const native = (functionName: string) => ({ functionName, url: "" });

test.each([
  { name: "its own file", stack: [weft("dispatch/settle.ts")], stage: "settle" },
  {
    name: "the nearest weft frame",
    stack: [native("writev"), nats, weft("stream/publish.ts"), weft("ingress/app.ts")],
    stage: "publish",
  },
  {
    name: "weft rather than the library it called",
    stack: [undici, weft("dispatch/send.ts")],
    stage: "HTTP out",
  },
  {
    name: "the client, which reads answers where nothing of dispatch is on the stack",
    stack: [weft("http1/fields.ts"), weft("http1/answer-head.ts"), library("node:net")],
    stage: "HTTP out",
  },
  {
    name: "decode, when the ingress reads an event",
    stack: [weft("event/json.ts"), weft("ingress/accept.ts")],
    stage: "decode",
  },
  {
    name: "whoever else works on an event",
    stack: [weft("event/nats.ts"), weft("stream/publish.ts")],
    stage: "publish",
  },
  { name: "the caller of a small tool", stack: [weft("clock.ts"), weft("ingress/app.ts")], stage: "HTTP in" },
  {
    name: "the library when no weft frame is there",
    stack: [native("writev"), undici, library("node:internal/timers")],
    stage: "HTTP out",
  },
  { name: "Node's HTTP server", stack: [library("node:_http_server")], stage: "HTTP in" },
  { name: "the NATS client", stack: [nats], stage: "NATS client, for whomever" },
  {
    name: "the collector",
    stack: [native("(garbage collector)"), weft("ingress/app.ts")],
    stage: "garbage collection",
  },
  { name: "nothing at all", stack: [native("(idle)")], stage: "idle" },
  {
    name: "other, for weft's other files",
    stack: [weft("control/trigger.ts"), weft("ingress/app.ts")],
    stage: "other",
  },
  { name: "other, for the rest", stack: [native("(program)")], stage: "other" },
])("stageOf must say $stage for $name", ({ stack, stage }) => {
  expect(stageOf(stack)).toBe(stage);
});
