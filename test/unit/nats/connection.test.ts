import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nkeys } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { connectNats, type NatsTarget } from "../../../src/mesh/nats/connection.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";
import { startOtherServer } from "../../support/other-server.ts";
import { until } from "../../support/until.ts";

let nats: TestNats;
let started: CloseStack;
let root: string;

beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.close());
beforeEach(async () => {
  started = new CloseStack();
  root = await mkdtemp(join(tmpdir(), "weft-connection-"));
  started.defer("folder", () => rm(root, { recursive: true, force: true }));
});
afterEach(() => started.close());

async function connectTo(target: NatsTarget) {
  const connection = await connectNats(target, { name: "tester", clock: systemClock, log: silentLog });
  return started.use("connection", connection);
}

/** A nats-server with another configuration than the embedded one; resolves to its port. */
const otherServer = (config: string, jetstream = true) =>
  startOtherServer(started, { root, config, jetstream });

test("connectNats connects with the token of the address and knows the server's version", async () => {
  const connection = await connectTo({ url: nats.url });
  expect(connection.isConnected()).toBe(true);
  expect(connection.serverVersion()).toBe(nats.server.version);
});

test("connectNats tells its listeners when the server goes and comes back, until they leave", async () => {
  const connection = await connectTo({ url: nats.url });
  const heard: string[] = [];
  connection.onDisconnect(() => {
    throw new Error("a broken listener");
  });
  const leave = connection.onDisconnect(() => heard.push("lost"));
  connection.onReconnect(() => heard.push("back"));
  nats.kill9();
  await until(() => !connection.isConnected());
  await until(() => heard.includes("back"));
  leave();
  await until(() => nats.server.pidNow());
  await nats.restart();
  await until(() => heard.length === 3);
  expect(heard).toEqual(["lost", "back", "back"]);
});

test("MeshConnection close sends what was published last, and is idempotent", async () => {
  const receiver = await connectTo({ url: nats.url });
  const received: string[] = [];
  receiver.nc.subscribe("last", { callback: (_, message) => void received.push(message.string()) });
  await receiver.nc.flush();
  const sender = await connectTo({ url: nats.url });
  sender.nc.publish("last", "word");
  await Promise.all([sender.close(), sender.close()]);
  await sender.closed;
  expect(sender.isConnected()).toBe(false);
  await until(() => received.length === 1);
  expect(received).toEqual(["word"]);
});

test("connectNats refuses an older server, naming its version and how to get a newer one", async () => {
  const old = createServer((socket) => {
    const info = { server_id: "S", version: "2.9.10", proto: 1, max_payload: 1024, headers: true };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (chunk) => {
      if (chunk.includes("PING")) socket.write("PONG\r\n");
    });
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => old.listen(0, "127.0.0.1", resolve));
  started.defer("old server", () => void old.close());
  const { port } = old.address() as AddressInfo;
  await expect(connectTo({ url: `nats://s3cret@127.0.0.1:${port}` })).rejects.toMatchObject({
    code: "NATS_TOO_OLD",
    message: expect.stringMatching(
      /expected NATS Server 2\.12\.0.*found 2\.9\.10 \(nats:\/\/\*\*\*@.*Upgrade/,
    ),
  });
});

test("connectNats refuses a server without JetStream", async () => {
  const port = await otherServer("", false);
  await expect(connectTo({ url: `nats://127.0.0.1:${port}` })).rejects.toMatchObject({
    code: "NATS_JETSTREAM_OFF",
  });
});

test("connectNats refuses wrong credentials without repeating them", async () => {
  const refused = connectTo({ url: nats.url.replace(/\/\/.*@/, "//s3cret@") });
  await expect(refused).rejects.toMatchObject({
    code: "NATS_UNREACHABLE",
    message: expect.stringMatching(/^(?!.*s3cret).*credentials/),
  });
});

test("connectNats logs in with user and password", async () => {
  const port = await otherServer('authorization { user: ann, password: "p@ss" }');
  const connection = await connectTo({ url: `nats://ann:p%40ss@127.0.0.1:${port}` });
  expect(connection.isConnected()).toBe(true);
});

test("connectNats logs in with an nkey from a file", async () => {
  const key = nkeys.createUser();
  const port = await otherServer(`authorization { users: [ { nkey: ${key.getPublicKey()} } ] }`);
  const nkeyFile = join(root, "user.nk");
  await writeFile(nkeyFile, `${Buffer.from(key.getSeed()).toString()}\n`);
  const connection = await connectTo({ url: `nats://127.0.0.1:${port}`, nkeyFile });
  expect(connection.isConnected()).toBe(true);
});

test("connectNats says when the credentials file cannot be read", async () => {
  const refused = connectTo({ url: nats.url, credsFile: join(root, "missing.creds") });
  await expect(refused).rejects.toMatchObject({
    code: "NATS_UNREACHABLE",
    message: expect.stringContaining("credentials file cannot be read"),
  });
});

test.skipIf(!hasOpenssl())("connectNats talks TLS to a server that its authority vouches for", async () => {
  const [key, cert] = [join(root, "key.pem"), join(root, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  const flags = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key, "-out", cert];
  execFileSync("openssl", ["req", ...flags, ...subject], { stdio: "ignore" });
  const port = await otherServer(`tls { cert_file: "${cert}", key_file: "${key}" }`);
  const connection = await connectTo({ url: `tls://127.0.0.1:${port}`, tlsCaFile: cert });
  expect(connection.isConnected()).toBe(true);
  await expect(connectTo({ url: `tls://127.0.0.1:${port}` })).rejects.toMatchObject({
    code: "NATS_UNREACHABLE",
  });
});

function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
