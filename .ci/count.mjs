/** Prints "passed failed" of a vitest JSON report. */
import { readFileSync } from "node:fs";

const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(process.argv[2], "utf8"));
process.stdout.write(`${numPassedTests} ${numFailedTests}\n`);
