import { expect, test } from "vitest";
import { Line, type Linked } from "../../../src/mesh/http1/line.ts";

class Item implements Linked<Item> {
  readonly name: string;
  previous: Item | undefined;
  next: Item | undefined;
  constructor(name: string) {
    this.name = name;
  }
}

test("Line hands out in order what has not left", () => {
  const items = [..."abcdef"].map((name) => new Item(name));
  const [a, , c, , , f] = items;
  const line = new Line<Item>();
  for (const item of items) line.push(item);
  for (const item of [a, c, f]) if (item !== undefined) line.remove(item);
  expect(line.length).toBe(3);
  expect(line.first?.name).toBe("b");
  if (a !== undefined) line.push(a);
  expect([line.shift(), line.shift(), line.shift(), line.shift()].map((item) => item?.name)).toEqual([
    ..."bdea",
  ]);
  expect(line.shift()).toBeUndefined();
  expect(line.length).toBe(0);
});
