/**
 * Stage two of the example pipeline: prints the invoice of a priced order.
 * `com.example.order.priced` in, `com.example.order.invoiced` out.
 */
import { defineFunction } from "weft";
import * as z from "zod";

const cents = z.number().int().min(0);
const pricedOrder = z.object({
  order: z.string(),
  customer: z.string(),
  lines: z.array(z.object({ title: z.string(), quantity: z.number().int(), cents })),
  netCents: cents,
  vatPercent: z.number(),
  vatCents: cents,
  totalCents: cents,
});

export default defineFunction({
  input: pricedOrder,
  reply: "com.example.order.invoiced",
  handle({ data }) {
    console.log(printInvoice(data));
    return { invoice: `INV-${data.order}`, order: data.order, totalCents: data.totalCents };
  },
});

function printInvoice({ order, customer, lines, ...sums }: z.output<typeof pricedOrder>): string {
  const row = (text: string, amount: number) =>
    `${text.padEnd(36)} ${`${Math.floor(amount / 100)}.${String(amount % 100).padStart(2, "0")}`.padStart(10)}`;
  return [
    `Invoice INV-${order} for ${customer}`,
    ...lines.map((line) => row(`  ${line.quantity} × ${line.title}`, line.cents)),
    row("  Net", sums.netCents),
    row(`  VAT ${sums.vatPercent} %`, sums.vatCents),
    row("  Total", sums.totalCents),
  ].join("\n");
}
