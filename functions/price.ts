/**
 * Stage one of the example pipeline: checks an order and works out what it costs.
 * `com.example.order.placed` in, `com.example.order.priced` out.
 *
 *     {"order": "A-1001", "customer": "Ada", "lines": [{"sku": "TEA-100", "quantity": 2}]}
 */
import { defineFunction } from "weft";
import * as z from "zod";

/** Net prices in cents, whole numbers only. A SKU that is missing here makes the order fail: add it. */
const prices: Record<string, { title: string; cents: number }> = {
  "TEA-100": { title: "Darjeeling tea, 100 g", cents: 890 },
  "TEA-250": { title: "Darjeeling tea, 250 g", cents: 1990 },
  "POT-CLAY": { title: "Clay teapot", cents: 4250 },
  "CUP-PAIR": { title: "Pair of cups", cents: 1800 },
};

const vatPercent = 20;

const order = z.object({
  order: z.string().min(1),
  customer: z.string().min(1),
  lines: z
    .array(z.object({ sku: z.string().min(1), quantity: z.number().int().min(1).max(1000) }))
    .min(1)
    .max(100),
});

export default defineFunction({
  input: order,
  reply: "com.example.order.priced",
  handle({ data }, { log }) {
    const lines = data.lines.map(({ sku, quantity }) => {
      const article = prices[sku];
      if (article === undefined) {
        throw new Error(
          `Unknown SKU "${sku}" in order ${data.order}. Known: ${Object.keys(prices).join(", ")}`,
        );
      }
      return {
        sku,
        title: article.title,
        quantity,
        unitCents: article.cents,
        cents: article.cents * quantity,
      };
    });
    const netCents = lines.reduce((sum, line) => sum + line.cents, 0);
    const vatCents = Math.round((netCents * vatPercent) / 100);
    log.info("order priced", { order: data.order, netCents });
    return {
      order: data.order,
      customer: data.customer,
      lines,
      netCents,
      vatPercent,
      vatCents,
      totalCents: netCents + vatCents,
    };
  },
});
