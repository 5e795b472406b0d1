/** `weft new NAME --type TYPE`: a function and its Trigger, ready to be edited. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import type { CliContext, ExitCode } from "./context.ts";

export interface NewOptions {
  readonly type: string;
  readonly broker: string;
  readonly functions: string;
  readonly manifests: string;
  readonly json?: boolean;
}

const dnsLabel = /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const eventType = /^[\x21-\x7e]+$/;

export async function runNew(name: string, options: NewOptions, context: CliContext): Promise<ExitCode> {
  if (!dnsLabel.test(name)) {
    throw new MeshError("CONFIG_INVALID", {
      field: "name",
      expected: "lower-case letters, digits and -, starting with a letter, at most 63",
      found: name,
    });
  }
  if (!eventType.test(options.type)) {
    throw new MeshError("CONFIG_INVALID", {
      field: "--type",
      expected: "an event type",
      found: options.type,
    });
  }
  const code = join(options.functions, `${name}.ts`);
  const manifest = join(options.manifests, `${name}.yaml`);
  await create(join(context.workingDirectory, code), functionText(name, options.type));
  await create(join(context.workingDirectory, manifest), manifestText(name, options));
  if (options.json) context.out(`${JSON.stringify({ name, function: code, manifest })}\n`);
  else {
    context.out(
      `made ${code} and ${manifest}; a running weft serves them at once.\n` +
        `Try it: npx weft send ${options.type} -d '{"hello":"world"}'\n`,
    );
  }
  return 0;
}

/** Never overwrites. */
async function create(path: string, text: string): Promise<void> {
  await mkdir(join(path, ".."), { recursive: true });
  try {
    await writeFile(path, text, { flag: "wx" });
  } catch (cause) {
    throw new MeshError("ALREADY_EXISTS", {
      found: path,
      fix: "Choose another name, or remove the file",
      cause,
    });
  }
}

function functionText(name: string, type: string): string {
  return `import { defineFunction } from "weft";

/** Gets events of type ${type}; what it returns goes back into the broker. */
export default defineFunction({
  handle(event, { log }) {
    log.info("${name} got an event", { id: event.id, data: event.data });
    return { handled: event.id };
  },
});
`;
}

function manifestText(name: string, { type, broker }: NewOptions): string {
  return `apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: ${name}
spec:
  broker: ${broker}
  filters:
    - exact:
        type: ${JSON.stringify(type)}
  subscriber:
    ref:
      apiVersion: serving.knative.dev/v1
      kind: Service
      name: ${name}
`;
}
