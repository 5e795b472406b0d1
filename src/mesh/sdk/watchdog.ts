/**
 * A worker thread in every runner, for the one case the main thread cannot handle: the host is gone (even
 * by kill -9) while the function sits in a synchronous loop, so that nobody would see the IPC channel close.
 */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../clock.ts";

const checkMs = 500;

// A clock's timers do not keep a thread alive; a listener on the port does.
parentPort?.on("message", () => {});
systemClock.every(checkMs, () => {
  if (process.ppid === workerData.hostPid) return;
  // The runner leads its own process group: whatever the function started goes with it.
  try {
    process.kill(-process.pid, "SIGKILL");
  } catch {
    process.kill(process.pid, "SIGKILL");
  }
});
