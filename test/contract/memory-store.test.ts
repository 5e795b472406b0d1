import { createMemoryStore } from "../../src/mesh/store/memory.ts";
import { storeContract } from "./store-contract.ts";

storeContract("the memory store", async () => {
  const store = createMemoryStore();
  return { store, openAgain: undefined, close: () => store.close() };
});
