import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import { parseConfig } from "../../../src/mesh/config.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { startWorkerProcess } from "../../../src/mesh/workers/worker-process.ts";

test("a worker process that still waits for NATS ends at once when it is told to stop", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const connected = once(silent, "connection");
  const worker = startWorkerProcess({
    settings: {
      config: parseConfig({}, {}),
      roles: ["ingress", "dispatch"],
      nats: { url: `nats://127.0.0.1:${port}` },
      portion: { index: 1, of: 2 },
      refusals: [],
    },
    // Never kills it.
    clock: new FakeClock(),
    log: silentLog,
    onChange() {},
    onBeat() {},
    onRecords() {},
  });
  const [socket]: Socket[] = await connected;
  await worker.stop({ deadlineMs: 1 });
  expect(await worker.exited).toBe("exit code 0");
  socket?.destroy();
  silent.close();
});
