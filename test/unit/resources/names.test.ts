import { describe, expect, test } from "vitest";
import { childName } from "../../../src/mesh/resources/names.ts";

describe("childName", () => {
  test("joins what fits", () => {
    expect(childName("hello", "-00001")).toBe("hello-00001");
  });

  test("shortens a long parent to 63 characters and keeps different parents apart", () => {
    const [a, b] = [childName(`${"p".repeat(60)}a`, "-00001"), childName(`${"p".repeat(60)}b`, "-00001")];
    expect(a).toHaveLength(63);
    expect(a.endsWith("-00001")).toBe(true);
    expect(a).not.toBe(b);
  });

  test("shortens under a long suffix", () => {
    expect(childName("p".repeat(40), `-${"s".repeat(40)}`).length).toBeLessThanOrEqual(63);
  });
});
