import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { binary } from "../support/ledger.ts";
import { startTestMesh, stillRunning, type TestMesh } from "../support/mesh.ts";
import { until } from "../support/until.ts";

const example = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), "utf8");

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await startTestMesh({
    functions: {
      "price.ts": await example("functions/price.ts"),
      "invoice.ts": await example("functions/invoice.ts"),
    },
    manifests: { "orders.yaml": await example("knative/orders.yaml") },
    flags: ["--idle-window", "6s"],
  });
});
afterAll(() => mesh?.close());

const placed = "com.example.order.placed";
const order = (name: string) => ({
  order: name,
  customer: "Ada",
  lines: [
    { sku: "TEA-100", quantity: 2 },
    { sku: "POT-CLAY", quantity: 1 },
  ],
});
const structuredOrder = (name: string) => ({
  specversion: "1.0",
  id: name,
  source: "/shop",
  type: placed,
  datacontenttype: "application/json",
  data: order(name),
});

/** Both stages have run once the second one has printed its invoice. */
async function invoiced(name: string): Promise<string> {
  const invoice = new RegExp(`Invoice INV-${name} for Ada[^]*?Total +\\d+\\.\\d\\d`);
  return until(() => invoice.exec(mesh.output)?.[0], { what: `the invoice of ${name}` });
}

async function atZero(): Promise<boolean> {
  const { functions } = await mesh.status();
  return functions.every(({ instances }) => instances.length === 0);
}

test("up serves the example pipeline from zero to zero and from zero again", async () => {
  const { functions } = await mesh.status();
  expect(functions.map(({ name }) => name).sort()).toEqual(["invoice", "price"]);
  expect(mesh.output).toContain(
    `events     ${mesh.eventsUrl.replace("127.0.0.1", "localhost")}/<namespace>/<broker>`,
  );
  await until(atZero, { deadlineMs: 30_000, what: "the functions sleep" });

  const event = binary({ id: "A-1", type: placed, source: "/shop", data: order("A-1") });
  expect((await mesh.post(event)).status).toBe(202);
  // 2 × 8.90 + 42.50, and 20 % on it.
  expect(await invoiced("A-1")).toMatch(/Total +72\.36$/);
  const awake = [...(await mesh.instances("price")), ...(await mesh.instances("invoice"))];
  expect(awake.length).toBeGreaterThanOrEqual(2);

  await until(atZero, { deadlineMs: 30_000, what: "the functions sleep again" });
  await until(async () => (await stillRunning(awake)).length === 0, { what: "their processes are gone" });

  expect((await mesh.post(binary({ id: "A-2", type: placed, data: order("A-2") }))).status).toBe(202);
  await invoiced("A-2");
  const again = [...(await mesh.instances("price")), ...(await mesh.instances("invoice"))];
  expect(again.filter((pid) => awake.includes(pid))).toEqual([]);
}, 90_000);

test("up takes an order in structured mode", async () => {
  const { status } = await mesh.post({
    headers: { "content-type": "application/cloudevents+json" },
    body: JSON.stringify(structuredOrder("S-1")),
  });
  expect(status).toBe(202);
  await invoiced("S-1");
});

test("up takes orders in a batch", async () => {
  const { status } = await mesh.post({
    headers: { "content-type": "application/cloudevents-batch+json" },
    body: JSON.stringify(["B-1", "B-2", "B-3"].map(structuredOrder)),
  });
  expect(status).toBe(202);
  for (const name of ["B-1", "B-2", "B-3"]) await invoiced(name);
});

test("send sends an order from the command line", async () => {
  const { code, stderr } = await mesh.weft("send", placed, "--id", "C-1", "-d", JSON.stringify(order("C-1")));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  await invoiced("C-1");
});

test("status --json counts what was delivered and what nobody wanted", async () => {
  expect((await mesh.post(binary({ id: "stray", type: "com.example.stray" }))).status).toBe(202);
  await until(() => /unmatched {2}default\/default {2}com\.example\.stray stray/.test(mesh.output), {
    what: "the line of the stray event",
  });
  await until(async () => (await mesh.trigger("invoice-orders")).delivered === 7, { what: "seven invoices" });
  const { code, stdout } = await mesh.weft("status", "--json");
  expect(code).toBe(0);
  const status = JSON.parse(stdout);
  // Of each of the seven orders nobody wants the invoice event, and of the stray there is one.
  expect(status.brokers).toMatchObject([{ name: "default", events: 7 * 3 + 1, unmatched: 8 }]);
  const owed = { ready: true, pending: 0, inFlight: 0, delivered: 7, retried: 0, dead: 0 };
  expect(status.triggers).toMatchObject([
    { name: "invoice-orders", ...owed },
    { name: "price-orders", ...owed },
  ]);
});

test("up prints one line per delivery", () => {
  const line = `delivered  default/price-orders  ${placed} S-1`;
  expect(mesh.output.split(line)).toHaveLength(2);
  expect(mesh.output).toMatch(/delivered {2}default\/price-orders .* S-1 .*→ com\.example\.order\.priced/);
});
