/**
 * `weft test FILE…`: would these triggers take this event? Filters only, without a server. A fixture is a YAML
 * document (a file may hold several):
 *
 *   name: a paid order reaches billing
 *   event: { type: com.acme.order.paid, source: /shop }
 *   triggers:
 *     - ../knative/triggers.yaml                                  # every Trigger in that file
 *     - { metadata: { name: audit }, spec: { filters: [{ prefix: { type: com.acme. } }] } }
 *   expect: { billing: match, audit: no-match }
 *
 * T1  a trigger whose filter cannot be evaluated fails its case, whatever was expected.
 * T2  fixtures that cannot be read are wrong use (2), not a failed test (1), and nothing is reported as run.
 */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { MeshError, messageOf } from "../errors.ts";
import type { Attributes } from "../event/event.ts";
import { fromJson, toText } from "../filter/cesql/cast.ts";
import { decisiveClauses, explain } from "../filter/explain.ts";
import { type FilterSpec, filterProblems } from "../filter/filter.ts";
import { effectiveFilters } from "../filter/legacy.ts";

export interface TestOptions {
  /** What the user asked for. */
  readonly output: { write(text: string): unknown };
  /** Why it was wrong use. */
  readonly errorOutput: { write(text: string): unknown };
  readonly format: "human" | "junit" | "json";
}

/** One trigger in one case. */
export interface Check {
  readonly trigger: string;
  /** undefined when the fixture expects nothing of this trigger. */
  readonly expected: Outcome | undefined;
  readonly actual: Outcome;
  readonly ok: boolean;
  /** The clauses that decided. */
  readonly why: readonly string[];
}

export interface CaseResult {
  readonly file: string;
  readonly name: string;
  readonly checks: readonly Check[];
}

type Outcome = "match" | "no-match";

/** Runs all fixtures; resolves to the exit code: 0 ok, 1 failed, 2 wrong use. */
export async function runTestFixtures(
  files: readonly string[],
  { output, errorOutput, format }: TestOptions,
): Promise<0 | 1 | 2> {
  try {
    if (files.length === 0) throw wrongUse({ expected: "at least one fixture file", found: "none" });
    const results = (await Promise.all(files.map(runFile))).flat();
    output.write(reports[format](results));
    return results.every(isOk) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    errorOutput.write(`${error.message}\n`);
    return 2;
  }
}

const filterList = z.array(
  z.custom<FilterSpec>((element) => typeof element === "object" && element !== null),
);

const specSchema = z.looseObject({
  filters: filterList.optional(),
  filter: z.looseObject({ attributes: z.record(z.string(), z.string()).optional() }).optional(),
});

const triggerSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string().min(1) }),
  spec: specSchema.default({}),
});

const fixtureSchema = z.strictObject({
  name: z.string().optional(),
  event: z.looseObject({ type: z.string().min(1) }),
  triggers: z.array(z.union([z.string(), triggerSchema])).min(1),
  expect: z.record(z.string(), z.enum(["match", "no-match"])),
});

type Fixture = z.output<typeof fixtureSchema>;

interface NamedFilters {
  readonly name: string;
  readonly filters: readonly FilterSpec[];
}

async function runFile(file: string): Promise<CaseResult[]> {
  const documents = await readYaml(file);
  if (documents.length === 0)
    throw wrongUse({ field: file, expected: "at least one fixture", found: "none" });
  return Promise.all(
    documents.map(async (document, i) => {
      const where = documents.length === 1 ? file : `${file} (document ${i + 1})`;
      const fixture = checked(fixtureSchema, document, where);
      const triggers = await triggersOf(fixture, file);
      return { file, name: fixture.name ?? where, checks: checksOf(fixture, triggers, where) };
    }),
  );
}

async function triggersOf(fixture: Fixture, file: string): Promise<NamedFilters[]> {
  const lists = await Promise.all(
    fixture.triggers.map(async (entry) => {
      if (typeof entry !== "string") return [namedFilters(entry)];
      const path = resolve(dirname(file), entry);
      const manifests = (await readYaml(path)).filter(isTriggerManifest);
      if (manifests.length === 0)
        throw wrongUse({ field: path, expected: "a Trigger manifest", found: "none" });
      return manifests.map((manifest) => namedFilters(checked(triggerSchema, manifest, path)));
    }),
  );
  return lists.flat();
}

function isTriggerManifest(document: unknown): boolean {
  return (
    typeof document === "object" && document !== null && "kind" in document && document.kind === "Trigger"
  );
}

function namedFilters({ metadata, spec }: z.output<typeof triggerSchema>): NamedFilters {
  return { name: metadata.name, filters: effectiveFilters(spec.filters, spec.filter?.attributes) };
}

function checksOf({ event, expect }: Fixture, triggers: readonly NamedFilters[], where: string): Check[] {
  const names = new Set(triggers.map(({ name }) => name));
  if (names.size < triggers.length) {
    throw wrongUse({ field: `${where}: triggers`, expected: "each name once", found: "a name twice" });
  }
  const stranger = Object.keys(expect).find((name) => !names.has(name));
  if (stranger !== undefined) {
    throw wrongUse({
      field: `${where}: expect`,
      expected: `one of ${[...names].join(", ")}`,
      found: stranger,
    });
  }
  const attributes = attributesOf(event);
  return triggers.map((trigger) => check(trigger, attributes, expect[trigger.name]));
}

function check(
  { name, filters }: NamedFilters,
  attributes: Attributes,
  expected: Outcome | undefined,
): Check {
  const explanation = explain(filters, attributes);
  const actual = explanation.result ? "match" : "no-match";
  const problems = filterProblems(filters).map(({ path, message }) => `${path}: ${message}`);
  const ok = problems.length === 0 && (expected === undefined || expected === actual);
  const why = problems.length > 0 ? problems : decisiveClauses(explanation);
  return { trigger: name, expected, actual, ok, why };
}

/** As the mesh stores it: every attribute its canonical string. What a filter seldom looks at may be left out. */
function attributesOf({ data, data_base64, ...members }: Fixture["event"]): Attributes {
  const attributes: Record<string, string> & { type: string } = Object.assign(Object.create(null), {
    specversion: "1.0",
    id: "test",
    source: "/test",
  });
  for (const [name, member] of Object.entries(members)) {
    const value = fromJson(member);
    if (value !== undefined) attributes[name] = toText(value);
  }
  return attributes as Attributes;
}

async function readYaml(file: string): Promise<unknown[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw wrongUse({ field: file, expected: "a readable file", found: messageOf(error), cause: error });
  }
  const documents = parseAllDocuments(text);
  return [...documents].flatMap((document) => {
    const [fault] = document.errors;
    if (fault !== undefined) throw wrongUse({ field: file, expected: "YAML", found: fault.message });
    const value: unknown = document.toJS();
    return value === null || value === undefined ? [] : [value];
  });
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw wrongUse({ field: where, expected: "a test fixture", found: z.prettifyError(result.error) });
}

function wrongUse(detail: ConstructorParameters<typeof MeshError>[1]): MeshError {
  return new MeshError("REQUEST_INVALID", detail);
}

function isOk({ checks }: CaseResult): boolean {
  return checks.every(({ ok }) => ok);
}

const reports = { human: humanReport, junit: junitReport, json: jsonReport } as const;

function humanReport(results: readonly CaseResult[]): string {
  const lines = results.flatMap((result) => [
    `${isOk(result) ? "ok  " : "FAIL"} ${result.name}`,
    ...result.checks.flatMap((each) => [
      `       ${each.trigger}: ${verdictOf(each)}`,
      ...(each.ok && each.actual === "match" ? [] : each.why.map((line) => `         ${line}`)),
    ]),
  ]);
  const failed = results.filter((result) => !isOk(result)).length;
  lines.push(failed === 0 ? `${results.length} passed` : `${failed} of ${results.length} failed`);
  return `${lines.join("\n")}\n`;
}

function verdictOf({ ok, expected, actual }: Check): string {
  if (ok) return actual;
  return expected === undefined || expected === actual
    ? `${actual}, its filter cannot be evaluated`
    : `${actual}, expected ${expected}`;
}

function jsonReport(results: readonly CaseResult[]): string {
  return `${JSON.stringify(results)}\n`;
}

function junitReport(results: readonly CaseResult[]): string {
  const suites = results.map((result) => {
    const failures = result.checks.filter(({ ok }) => !ok).length;
    const cases = result.checks.map((each) => {
      const open = `    <testcase classname="${xml(result.name)}" name="${xml(each.trigger)}"`;
      if (each.ok) return `${open}/>`;
      const message = xml(verdictOf(each));
      return `${open}>\n      <failure message="${message}">${xml(each.why.join("\n"))}</failure>\n    </testcase>`;
    });
    const counts = `tests="${result.checks.length}" failures="${failures}"`;
    const open = `  <testsuite name="${xml(result.name)}" file="${xml(result.file)}" ${counts}>`;
    return [open, ...cases, "  </testsuite>"].join("\n");
  });
  const body = ["<testsuites>", ...suites, "</testsuites>"].join("\n");
  return `<?xml version="1.0" encoding="UTF-8"?>\n${body}\n`;
}

/** XML 1.0 has no way to write most control characters, so they are shown as U+FFFD. */
function xml(text: string): string {
  const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text
    .toWellFormed()
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd")
    .replace(/[&<>"]/g, (char) => escapes[char] ?? char);
}
