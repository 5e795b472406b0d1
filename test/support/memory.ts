/** What a process holds in memory (Linux). */
import { readFile } from "node:fs/promises";

export interface Memory {
  readonly residentMb: number;
  /** The most it ever held. */
  readonly peakMb: number;
}

export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const megabytes = (name: string) => {
    const kilobytes = new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1];
    if (kilobytes === undefined) throw new Error(`no ${name} of process ${pid}`);
    return Number(kilobytes) / 1024;
  };
  return { residentMb: megabytes("VmRSS"), peakMb: megabytes("VmHWM") };
}
