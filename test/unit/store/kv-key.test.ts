import { describe, expect, test } from "vitest";
import { BROKER } from "../../../src/mesh/resources/kinds.ts";
import { formatKvKey } from "../../../src/mesh/store/kv-key.ts";

describe("formatKvKey", () => {
  test.each([
    ["default", "b", "eventing=2Eknative=2Edev.brokers.default.b"],
    ["default", "a.b-c_d", "eventing=2Eknative=2Edev.brokers.default.a=2Eb-c_d"],
    [undefined, "b", "eventing=2Eknative=2Edev.brokers.=.b"],
    ["default", "a=2Eb", "eventing=2Eknative=2Edev.brokers.default.a=3D2Eb"],
    ["default", "é*>", "eventing=2Eknative=2Edev.brokers.default.=C3=A9=2A=3E"],
  ])("escapes %s/%s", (namespace, name, key) => {
    expect(formatKvKey(BROKER, { namespace, name })).toBe(key);
  });

  test("keeps the core group apart", () => {
    expect(formatKvKey({ ...BROKER, group: "", resource: "services" }, { namespace: "n", name: "s" })).toBe(
      "=.services.n.s",
    );
  });
});
