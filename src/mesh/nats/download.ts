/**
 * One file over HTTP(S) into memory, with every wait bounded: connecting, the answer, each pause, the whole.
 * Honours the machine's proxy settings.
 */
import { EnvHttpProxyAgent, fetch } from "undici";
import type { Clock } from "../clock.ts";

export interface DownloadLimits {
  readonly connectMs: number;
  /** Longest pause before the answer and within it. */
  readonly stallMs: number;
  readonly totalMs: number;
  readonly bytesMax: number;
}

export interface DownloadOptions {
  readonly clock: Clock;
  readonly limits: DownloadLimits;
  readonly signal?: AbortSignal | undefined;
  /** Called on every chunk; `total` is undefined when the server does not say. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
}

/** Rejects, with a reason fit for a user, unless the whole file arrived within the limits. */
export async function download(url: string, options: DownloadOptions): Promise<Buffer> {
  const { clock, limits, signal } = options;
  const stop = new AbortController();
  const deadline = clock.after(limits.totalMs, () => stop.abort(late(limits.totalMs)));
  let stall = clock.after(limits.stallMs, () => stop.abort(late(limits.stallMs)));
  const alive = () => {
    stall.cancel();
    stall = clock.after(limits.stallMs, () => stop.abort(late(limits.stallMs)));
  };
  const onAbort = () => stop.abort(new Error("stopped"));
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const dispatcher = new EnvHttpProxyAgent({ connect: { timeout: limits.connectMs } });
  try {
    const response = await fetch(url, { dispatcher, signal: stop.signal, redirect: "follow" });
    if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    const total = Number.isSafeInteger(length) ? length : undefined;
    const chunks: Uint8Array[] = [];
    let received = 0;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      alive();
      received += chunk.byteLength;
      if (received > limits.bytesMax) throw new Error(`larger than ${limits.bytesMax} bytes`);
      chunks.push(chunk);
      options.onProgress?.(received, total);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  } finally {
    deadline.cancel();
    stall.cancel();
    signal?.removeEventListener("abort", onAbort);
    await dispatcher.destroy();
  }
}

function late(ms: number): Error {
  return new Error(`no answer within ${ms / 1000} s`);
}

/** fetch wraps what went wrong once or twice ("fetch failed", "terminated"); the innermost text says it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message || error.name;
}
