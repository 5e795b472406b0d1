/**
 * A subscriber for floods: counts events and keeps none. Until it is released every request waits for its answer;
 * optionally each answer takes its time.
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HoldingSubscriber {
  readonly url: string;
  /** Requests that wait for their answer now. */
  readonly waiting: number;
  /** Events that were answered; one that came twice counts once. */
  readonly delivered: number;
  /** Answers everything, now and from now on. */
  release(): void;
  close(): Promise<void>;
}

/** `answerMs`: not held until a release, but answered after so long. */
export async function startHoldingSubscriber({
  answerMs,
}: {
  answerMs?: number;
} = {}): Promise<HoldingSubscriber> {
  const held = new Set<() => void>();
  const ids = new Set<string>();
  let isReleased = false;
  const answer = (id: string, response: ServerResponse) => {
    ids.add(id);
    response.writeHead(204).end();
  };
  const server = createServer((request, response) => {
    const id = `${request.headers["ce-id"]}`;
    request.resume().once("end", () => {
      if (isReleased) {
        answer(id, response);
        return;
      }
      const go = () => {
        if (held.delete(go)) answer(id, response);
      };
      held.add(go);
      if (answerMs !== undefined) setTimeout(go, answerMs);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    get waiting() {
      return held.size;
    },
    get delivered() {
      return ids.size;
    },
    release() {
      isReleased = true;
      for (const go of [...held]) go();
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
