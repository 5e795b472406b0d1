/** What an operator does to a mesh's streams with any NATS client, behind the mesh's back. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { eventStream } from "../../src/mesh/stream/subjects.ts";
import type { TestMesh } from "./mesh.ts";

export interface Streams {
  /** From now on the event stream of a broker refuses what would be more than so many events; -1 lifts it. */
  limit(broker: string, eventsMax: number): Promise<void>;
  /** Names of the streams of a broker there are. */
  of(broker: string): Promise<string[]>;
  close(): Promise<void>;
}

/** Whoever opens it closes it. */
export async function openStreams(mesh: TestMesh): Promise<Streams> {
  const { username: token, host: servers } = new URL(await mesh.natsUrl());
  const nc = await connect({ servers, token });
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return {
    async limit(broker, eventsMax) {
      await jsm.streams.update(eventStream({ namespace: "default", name: broker }), { max_msgs: eventsMax });
    },
    async of(broker) {
      const names: string[] = [];
      for await (const name of jsm.streams.names()) if (name.endsWith(`-default_${broker}`)) names.push(name);
      return names;
    },
    close: () => nc.close(),
  };
}
