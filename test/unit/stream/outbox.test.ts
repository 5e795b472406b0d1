import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Outbox, outboxOf } from "../../../src/mesh/stream/outbox.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";
import { until } from "../../support/until.ts";

interface Received {
  readonly subject: string;
  readonly reply: string;
  readonly data: string;
  readonly headers: [string, string[]][];
}

let nats: TestNats;
let outbox: Outbox;
let received: Received[] = [];

beforeAll(async () => {
  nats = await startTestNats();
  const { nc } = await nats.connect("outbox");
  nc.subscribe("out.>", {
    callback: (_error, msg) => {
      const { subject, reply = "", headers } = msg;
      received.push({ subject, reply, data: msg.string(), headers: [...(headers ?? [])] });
    },
  });
  await nc.flush();
  outbox = outboxOf(nc);
});
afterAll(() => nats.close());

describe("Outbox.send", () => {
  test("sends messages of one turn in their order, each as it is", async () => {
    received = [];
    outbox.send("out.bare", "text");
    outbox.send("out.empty", new Uint8Array(0));
    outbox.send("out.reply", Buffer.from("bytes"), { reply: "in.box.1" });
    outbox.send("out.headers", "x", { headers: ["ce-id", "1", "x-text", "ü €"], reply: "in.box.2" });
    outbox.send("out.noheaders", "ü", { headers: [] });
    await until(() => received.length === 5);
    expect(received).toEqual([
      { subject: "out.bare", reply: "", data: "text", headers: [] },
      { subject: "out.empty", reply: "", data: "", headers: [] },
      { subject: "out.reply", reply: "in.box.1", data: "bytes", headers: [] },
      {
        subject: "out.headers",
        reply: "in.box.2",
        data: "x",
        headers: [
          ["ce-id", ["1"]],
          ["x-text", ["ü €"]],
        ],
      },
      { subject: "out.noheaders", reply: "", data: "ü", headers: [] },
    ]);
  });

  test.each(["", "out.a b", "out.a\r\nPUB out.injected 0\r\n", "out.\t", "out.\0"])(
    "refuses the subject %j, and sends what came with it",
    async (subject) => {
      received = [];
      const refused: string[] = [];
      const onRefused = ({ message }: Error) => void refused.push(message);
      outbox.send("out.before", "1");
      outbox.send(subject, "2", { onRefused });
      outbox.send("out.other", "3", { reply: `in.${subject || " "}`, onRefused });
      outbox.send("out.after", "4");
      await until(() => received.some(({ subject: sent }) => sent === "out.after"));
      expect(received.map(({ data }) => data)).toEqual(["1", "4"]);
      expect(refused).toEqual(["illegal subject", "illegal subject"]);
    },
  );

  test("refuses what is over the server's bound, headers counted", async () => {
    received = [];
    const { nc } = await nats.connect("large");
    const bytesMax = nc.info?.max_payload ?? 0;
    const refused: string[] = [];
    const onRefused = ({ message }: Error) => void refused.push(message);
    const large = outboxOf(nc);
    large.send("out.large", new Uint8Array(bytesMax + 1), { onRefused });
    large.send("out.large", new Uint8Array(bytesMax), { headers: ["a", "b"], onRefused });
    large.send("out.fits", new Uint8Array(bytesMax), { onRefused });
    await until(() => received.length === 1);
    expect(received[0]?.data).toHaveLength(bytesMax);
    expect(refused).toHaveLength(2);
    expect(refused[0]).toContain("max_payload");
  });

  test("never writes over bytes that are still on their way", async () => {
    const { nc } = await nats.connect("heavy");
    const heavy = outboxOf(nc);
    const payloadOf = (i: number) => Buffer.alloc(1000 + ((i * 7919) % 60_000), i % 251);
    const count = 1500;
    let good = 0;
    let next = 0;
    const { nc: reader } = await nats.connect("reader");
    reader.subscribe("heavy", {
      callback: (_error, msg) => {
        if (payloadOf(next).equals(msg.data)) good++;
        next++;
      },
    });
    await reader.flush();
    const pid = nats.server.pidNow() ?? Number.NaN;
    // The system keeps what the server does not read, and soon takes no more.
    process.kill(pid, "SIGSTOP");
    try {
      for (let i = 0; i < count; ) {
        for (let turn = 50; turn > 0 && i < count; turn--) heavy.send("heavy", payloadOf(i++));
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until(() => next === count);
    expect(good).toBe(count);
  });

  test("refuses everything on a closed connection", async () => {
    const { nc } = await nats.connect("closed");
    await nc.close();
    const refused = new Promise<Error>((resolve) => outboxOf(nc).send("out.x", "", { onRefused: resolve }));
    expect((await refused).message).toBe("the connection is closed");
  });
});
