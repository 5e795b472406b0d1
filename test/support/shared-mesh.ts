/**
 * One mesh, one subscriber and one ledger for all tests of a file: `useSharedMesh` starts them before the first
 * test and closes them after the last. The three are live bindings, of the test file that imports them alone.
 */
import { afterAll, beforeAll } from "vitest";
import { Ledger } from "./ledger.ts";
import { startTestMesh, type TestMesh } from "./mesh.ts";
import { type Subscriber, startSubscriber } from "./subscriber.ts";

export let mesh: TestMesh;
export let subscriber: Subscriber;
/** Of everything that is sent; a test with events of its own makes one of its own. */
export let ledger: Ledger;

/** Hooks of the file that follow this call run with all three there. */
export function useSharedMesh(options: Parameters<typeof startTestMesh>[0] = {}): void {
  beforeAll(async () => {
    subscriber = await startSubscriber();
    mesh = await startTestMesh(options);
    ledger = new Ledger(mesh);
  });
  afterAll(async () => {
    await mesh?.close();
    await subscriber?.close();
  });
}
