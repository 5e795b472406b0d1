/** The README says what is so: its tables equal their sources, its paths exist, its commands are all there are. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { runCli } from "../src/mesh/cli/cli.ts";
import { type ConfigName, configNames, configSchema, environmentOf, flagOf } from "../src/mesh/config.ts";
import { errors } from "../src/mesh/errors.ts";
import * as annotations from "../src/mesh/resources/annotations.ts";
import { root } from "./support/sources.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");

describe("README", () => {
  test("names only files and folders that exist", () => {
    const rooms = readdirSync(join(root, "src/mesh"));
    const places = readdirSync(root);
    const missing = inlineCodes(readme)
      .filter((code) => /^[\w.-]+\/[\w./-]*$/.test(code))
      .filter((path) => {
        const first = path.split("/")[0] ?? "";
        const isFound = existsSync(join(root, path)) || existsSync(join(root, "src/mesh", path));
        // `<ns>/<name>` and media types look alike; a path starts with a folder of ours.
        return (rooms.includes(first) || places.includes(first)) && !isFound;
      });
    expect(missing.filter((path) => !madeByTools.includes(path))).toEqual([]);
  });

  test("links only to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map((match) => match[1] ?? "");
    expect(links.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test("has the error table of errors.ts", () => {
    const rows = Object.entries(errors).map(([code, { status, text }]) => [
      `\`${code}\``,
      `${status}`,
      text.replaceAll("<", "&lt;").replaceAll(">", "&gt;"),
    ]);
    expect(tableAfter("## Errors")).toEqual(rows);
  });

  test("has the option table of config.ts", () => {
    const rows = configNames.map((name) => [
      `\`${flagOf(name)}\``,
      `\`${environmentOf(name)}\``,
      formatDefault(name),
      configSchema.shape[name].description ?? "",
    ]);
    expect(tableAfter("## Options")).toEqual(rows);
  });

  test("has a row for every command", async () => {
    const commands = (await commandsBelow()).filter((name) => name !== "help").sort();
    const rows = tableAfter("## Commands").map(([command]) =>
      (command ?? "").replaceAll("`", "").replace(/ (?:-|[A-Z[]).*$/, ""),
    );
    expect(rows.sort()).toEqual(commands);
  });

  test("explains every annotation a user may set", () => {
    const { WEFT_PREFIX, MANIFEST, APPLIED, REQUEST_REPLY_ROUTE } = annotations;
    const internal: readonly unknown[] = [WEFT_PREFIX, MANIFEST, APPLIED, REQUEST_REPLY_ROUTE];
    const names = Object.values(annotations)
      .filter((value) => typeof value === "string")
      .filter((value) => value.startsWith(WEFT_PREFIX) && !internal.includes(value));
    expect(tableAfter("## Concepts", "Annotation").map(([name]) => name)).toEqual(
      expect.arrayContaining(names.map((name) => `\`${name}\``)),
    );
  });
});

/** What the build makes. */
const madeByTools = ["dist/"];

function inlineCodes(markdown: string): string[] {
  const prose = markdown.replace(/```[\s\S]*?```/g, "");
  return [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? "");
}

/** The cells of the first table below a heading, or of the first whose head starts with `column`. */
function tableAfter(heading: string, column = ""): string[][] {
  const lines = readme.slice(readme.indexOf(`${heading}\n`)).split("\n");
  const head = lines.findIndex((line) => line.startsWith(`| ${column}`));
  const length = lines.slice(head).findIndex((line) => !line.startsWith("|"));
  return lines.slice(head + 2, head + length).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}

const unitsMs = [
  ["d", 86_400_000],
  ["m", 60_000],
  ["s", 1000],
] as const;

function formatDefault(name: ConfigName): string {
  const value: unknown = configSchema.parse({})[name];
  if (value === undefined) return "";
  if (Array.isArray(value)) return `\`${value.join(",")}\``;
  const isDuration = configSchema.shape[name].safeParse("1s").data === 1000;
  if (!isDuration || typeof value !== "number") return `\`${value}\``;
  const [unit, ms] = unitsMs.find(([, size]) => value >= size && value % size === 0) ?? ["ms", 1];
  return `\`${value / ms}${unit}\``;
}

/** Full names of all commands, groups left out: `up`, `dead list`, … */
async function commandsBelow(group: readonly string[] = []): Promise<string[]> {
  let help = "";
  await runCli([...group, "--help"], {
    environment: {},
    workingDirectory: root,
    cacheDir: root,
    stdin: (async function* () {})(),
    stdout: new Writable(),
    out: (text) => {
      help += text;
    },
    err: () => {},
    isTerminal: false,
    stop: new AbortController().signal,
  });
  const [, list] = help.split("\nCommands:\n");
  if (list === undefined) return [group.join(" ")];
  const names = [...list.matchAll(/^ {2}([a-z-]+)/gm)].map((match) => match[1] ?? "");
  const below = await Promise.all(
    names.map((name) => (name === "help" ? [name] : commandsBelow([...group, name]))),
  );
  return below.flat();
}
