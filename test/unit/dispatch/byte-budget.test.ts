import { describe, expect, test } from "vitest";
import { type BudgetHolder, ByteBudget } from "../../../src/mesh/dispatch/byte-budget.ts";

function holder(): BudgetHolder & { refills: number } {
  return {
    refills: 0,
    refill() {
      this.refills++;
    },
  };
}

describe("ByteBudget", () => {
  test("take refuses what does not fit, give makes room", () => {
    const budget = new ByteBudget(100);
    const a = holder();
    expect(budget.take(a, 60)).toBe(true);
    expect(budget.take(a, 41)).toBe(false);
    expect(budget.used).toBe(60);
    budget.give(a, 60);
    expect(budget.take(a, 41)).toBe(true);
  });

  test("take lets one event through that is larger than the whole budget", () => {
    const budget = new ByteBudget(100);
    const a = holder();
    expect(budget.take(a, 500)).toBe(true);
    expect(budget.take(a, 1)).toBe(false);
  });

  test("mayPull stops the greedy above half and lets others on", () => {
    const budget = new ByteBudget(100);
    const greedy = holder();
    const modest = holder();
    budget.take(greedy, 49);
    expect(budget.mayPull(greedy)).toBe(true);
    budget.take(greedy, 20);
    expect(budget.mayPull(greedy)).toBe(false);
    expect(budget.mayPull(modest)).toBe(true);
    budget.take(modest, 31);
    expect(budget.mayPull(modest)).toBe(false);
  });

  test("give calls back who had to wait, once, when there is room again", () => {
    const budget = new ByteBudget(100);
    const a = holder();
    const b = holder();
    budget.take(a, 100);
    budget.mayPull(b);
    expect(b.refills).toBe(0);
    budget.give(a, 30);
    budget.give(a, 30);
    expect(b.refills).toBe(1);
  });

  test("forget calls nobody back", () => {
    const budget = new ByteBudget(100);
    const a = holder();
    const b = holder();
    budget.take(a, 100);
    budget.mayPull(b);
    budget.forget(b);
    budget.give(a, 100);
    expect(b.refills).toBe(0);
  });
});
