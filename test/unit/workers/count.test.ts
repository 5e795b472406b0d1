import { expect, test } from "vitest";
import { allRoles, type Role } from "../../../src/mesh/config.ts";
import { workerCount } from "../../../src/mesh/workers/count.ts";

const all: ReadonlySet<Role> = new Set(allRoles);

test.each([
  { cores: 1, count: 1 },
  { cores: 2, count: 1 },
  { cores: 3, count: 1 },
  { cores: 4, count: 2 },
  { cores: 15, count: 7 },
  { cores: 64, count: 8 },
])("workerCount takes half of $cores cores where they are there for it", ({ cores, count }) => {
  expect(workerCount({ asked: undefined, shared: true, cores, roles: all }).count).toBe(count);
});

test("workerCount is one on a laptop, and says which and why", () => {
  expect(workerCount({ asked: undefined, shared: false, cores: 8, roles: all })).toEqual({
    count: 1,
    why: "of 8 cores (one process is enough for a laptop; --workers N for more)",
  });
});

test.each([true, false])("workerCount is what was asked for (shared: %s)", (shared) => {
  expect(workerCount({ asked: 3, shared, cores: 2, roles: all })).toEqual({ count: 3, why: "on 2 cores" });
});

test("workerCount is one where there is neither ingress nor dispatch", () => {
  const roles = new Set<Role>(["control"]);
  expect(workerCount({ asked: 4, shared: true, cores: 8, roles }).count).toBe(1);
});
