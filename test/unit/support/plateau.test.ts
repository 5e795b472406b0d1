import { expect, test } from "vitest";
import { hasStoppedGrowing } from "../../support/plateau.ts";

const slack = { share: 0.1, amount: 20 };

test.each([
  { name: "a plateau after a rise", samples: [100, 200, 300, 400, 410, 400], stopped: true },
  { name: "a sawtooth", samples: [100, 300, 120, 310, 110, 300, 130, 305, 100], stopped: true },
  { name: "a steady rise", samples: [100, 200, 300, 400, 500, 600], stopped: false },
  { name: "a slow rise beyond the share", samples: [1000, 1050, 1100, 1150, 1200, 1280], stopped: false },
  { name: "a small rise within the amount", samples: [10, 15, 20, 25, 30, 35], stopped: true },
  { name: "a fall", samples: [600, 500, 400, 300, 200, 100], stopped: true },
  { name: "too few samples", samples: [100, 100], stopped: false },
])("hasStoppedGrowing must be $stopped for $name", ({ samples, stopped }) => {
  expect(hasStoppedGrowing(samples, slack)).toBe(stopped);
});
