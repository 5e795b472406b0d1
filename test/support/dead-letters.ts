/** Dead letters of the default broker, counted where they are stored. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { TestNats } from "./nats.ts";

export async function countDeadLetters(nats: TestNats): Promise<number> {
  const { nc } = await nats.connect("dead letters");
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return (await jsm.streams.info("weft-dl-default_default")).state.messages;
}
