import { describe, expect, test, vi } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import { type ConsoleParts, createConsole } from "../../../src/mesh/console/app.ts";
import { silentLog } from "../../../src/mesh/log.ts";

const megabyte = new Uint8Array(1024 * 1024);

/** A body whose length nobody announced. */
function chunked(megabytes: number): ReadableStream<Uint8Array> {
  let left = megabytes;
  return new ReadableStream({
    pull(controller) {
      if (left-- > 0) controller.enqueue(megabyte);
      else controller.close();
    },
  });
}

describe("the control port", () => {
  test.each(["/weft/v1/apply", "/weft/v1/dead-letters/x/redrive", "/weft/v1/triggers/default/t/rewind"])(
    "refuses a body over its bound at %s, also one that comes without its length",
    async (path) => {
      const apply = vi.fn();
      const parts = { log: silentLog, clock: new FakeClock(), apply } as unknown as ConsoleParts;
      const init = { method: "POST", body: chunked(20), duplex: "half" } as RequestInit;
      const answer = await createConsole(parts).request(path, init);
      expect(answer.status).toBe(413);
      expect(await answer.json()).toMatchObject({ code: "EVENT_TOO_LARGE" });
      expect(apply).not.toHaveBeenCalled();
    },
  );
});
