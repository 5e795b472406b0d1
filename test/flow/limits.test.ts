import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestMesh, type TestMesh } from "../support/mesh.ts";

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await startTestMesh({ flags: ["--attributes-max", "2048", "--batch-max", "2"] });
});
afterAll(async () => {
  await mesh?.close();
});

function attributes(extension: string): Record<string, string> {
  return { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/t", "ce-type": "t", "ce-extra": extension };
}

function batch(count: number): string {
  const events = Array.from({ length: count }, (_, i) => ({
    specversion: "1.0",
    id: `b${i}`,
    source: "/t",
    type: "t",
  }));
  return JSON.stringify(events);
}

test("attributes up to the configured bound are taken, more are refused with the bound named", async () => {
  expect((await mesh.post({ headers: attributes("x".repeat(1500)) })).status).toBe(202);
  const refused = await mesh.post({ headers: attributes("x".repeat(2500)) });
  expect(refused.status).toBe(431);
  expect(JSON.parse(refused.body)).toMatchObject({ code: "HEADERS_TOO_LARGE" });
  expect(refused.body).toContain("2048");
});

test("a batch up to the configured bound is taken, a longer one refused with the bound named", async () => {
  const headers = { "content-type": "application/cloudevents-batch+json" };
  expect((await mesh.post({ headers, body: batch(2) })).status).toBe(202);
  const refused = await mesh.post({ headers, body: batch(3) });
  expect(refused.status).toBe(413);
  expect(refused.body).toMatch(/at most 2 /);
});
