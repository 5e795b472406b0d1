/**
 * The executable of a worker: does what the first process says over the IPC channel, and ends when that closes.
 * Signals mean nothing here: what is sent to the whole group (Ctrl-C) is the first process's to act on, so that
 * attempts in flight may finish.
 */
import { Socket } from "node:net";
import { systemClock } from "./clock.ts";
import { messageOf } from "./errors.ts";
import { createLog } from "./log.ts";
import { startWorker, type Worker } from "./worker.ts";
import { type FromWorker, type ToWorker, toWorkerSchema, type WorkerSettings } from "./workers/messages.ts";
import { RecordRelay } from "./workers/record-relay.ts";

const relay = new RecordRelay({ clock: systemClock, send: tell });
/** How often it says that it is there. */
const beatMs = 1000;

let worker: Promise<Worker> | undefined;
/** Once it serves: connections come only then. */
let running: Worker | undefined;
/** Whether the connection that was offered last is here. */
let hasArrived = false;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.on("disconnect", () => process.exit(1));
process.on("message", (raw, handle) => {
  // Both ends are of one version: what cannot be read is a bug, and ends this process.
  follow(toWorkerSchema.parse(raw), handle);
});

function follow(message: ToWorker, handle: unknown): void {
  switch (message.kind) {
    case "start":
      worker = start(message.settings);
      return;
    case "connection":
      // Without a handle it was broken off on its way.
      hasArrived = handle instanceof Socket;
      if (handle instanceof Socket) serve(handle);
      return;
    case "offered":
      void tell({ kind: "taken", arrived: hasArrived });
      hasArrived = false;
      return;
    case "refusals":
      void worker?.then(({ refuse }) => refuse(message.refusals));
      return;
    case "drain":
      void stop();
  }
}

async function start(settings: WorkerSettings): Promise<Worker> {
  try {
    running = await startWorker({
      settings,
      clock: systemClock,
      log: createLog(settings.config.logLevel),
      onRecord: (record) => relay.add(record),
      onRoutes: (revision) => void tell({ kind: "routes", revision }),
    });
    const { trouble } = running;
    await tell({ kind: "ready" });
    systemClock.every(beatMs, () => void tell({ kind: "beat", trouble: trouble() }));
    return running;
  } catch (error) {
    await tell({ kind: "failed", message: messageOf(error) });
    process.exit(1);
  }
}

function serve(socket: Socket): void {
  // What goes wrong before the server has the connection ends the connection alone.
  socket.on("error", () => {});
  if (running === undefined) socket.destroy();
  else running.take(socket);
}

async function stop(): Promise<void> {
  // One that is still starting has nothing that must end well, and may wait for NATS for long.
  await running?.close();
  await relay.flush();
  process.exit(0);
}

/** Resolves when the message is written, or cannot be: then the channel is closed, and this process ends. */
function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, undefined, {}, () => resolve());
  });
}
