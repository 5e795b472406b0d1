import { createMemoryStore } from "../../src/mesh/store/memory.ts";
import { storeContract } from "./store-contract.ts";

storeContract("the memory store", { isShared: false }, async () => {
  const store = createMemoryStore();
  return { store, openAgain: async () => createMemoryStore(), close: () => store.close() };
});
