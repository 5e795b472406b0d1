import { defineConfig } from "vitest/config";

const { WEFT_TEST_REPORT: reportFile } = process.env;

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Whole meshes mostly wait for each other: two files at a time keep two cores busy, more make deadlines tight.
    maxWorkers: 2,
    reporters: reportFile === undefined ? ["default"] : ["default", ["json", { outputFile: reportFile }]],
  },
});
