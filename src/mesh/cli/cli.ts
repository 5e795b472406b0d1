/** The command line: one file per command, errors as one line with what to do, exit codes 0, 1, 2. */
import { Command, CommanderError, Option } from "commander";
import { type ConfigName, configNames, configSchema, environmentOf, flagOf } from "../config.ts";
import { MeshError, messageOf } from "../errors.ts";
import type { CliContext, ExitCode } from "./context.ts";
import { version } from "./version.ts";

export async function runCli(argv: readonly string[], context: CliContext): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = buildProgram(context, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    return explain(error, context);
  }
}

function explain(error: unknown, { err, stop }: CliContext): ExitCode {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? 0 : 2;
  }
  if (error instanceof MeshError) {
    err(`weft: ${error.message} [${error.code}]\n`);
    return error.code === "CONFIG_INVALID" ? 2 : 1;
  }
  if (stop.aborted) return 1;
  err(`weft: ${messageOf(error)}\n`);
  return 1;
}

type Report = (code: ExitCode) => void;

function buildProgram(context: CliContext, report: Report): Command {
  const program = new Command("weft")
    .description("A CloudEvents-native event mesh: a Knative Broker on NATS JetStream")
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showHelpAfterError("(see `weft help`)");
  addUp(program, context, report);
  addObjects(program, context, report);
  addEvents(program, context, report);
  addDead(program, context, report);
  addTriggers(program, context, report);
  addTools(program, context, report);
  return program;
}

function addUp(program: Command, context: CliContext, report: Report): void {
  const up = program.command("up").description("run the mesh here, until Ctrl-C");
  for (const name of configNames) if (name !== "roles") up.addOption(configOption(name));
  up.option("--json", "accepted for uniformity; `up` prints lines");
  up.action(async ({ json: _json, ...flags }: Record<string, unknown>) => {
    const { runUp } = await import("./up.ts");
    report(await runUp(flags, context));
  });
  const serve = program
    .command("serve")
    .description("run this process's part of a mesh that several processes share on one NATS (--nats-url)");
  for (const name of configNames) if (name !== "reset") serve.addOption(configOption(name));
  serve.option("--json", "accepted for uniformity; `serve` prints lines");
  serve.action(async ({ json: _json, ...flags }: Record<string, unknown>) => {
    const { runServe } = await import("./serve.ts");
    report(await runServe(flags, context));
  });
}

function configOption(name: ConfigName): Option {
  const field = configSchema.shape[name];
  const text = `${field.description ?? ""} (${environmentOf(name)})`;
  if (name === "reset") return new Option(flagOf(name), text);
  const option = new Option(`${flagOf(name)} <${name === "drain" ? "duration" : "value"}>`, text);
  if (name !== "manifests") return option;
  return option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
}

function addObjects(program: Command, context: CliContext, report: Report): void {
  withServer(program.command("apply").description("bring manifests into the running mesh"))
    .requiredOption("-f, --filename <file>", "YAML file, - for stdin; repeatable", collect)
    .action(async (options) => report(await (await import("./apply.ts")).runApply(options, context)));
  withServer(
    program
      .command("get")
      .description("show brokers, triggers or services")
      .argument("<kind>")
      .argument("[name]"),
  )
    .option("-n, --namespace <namespace>", "only this namespace")
    .action(async (kind, name, options) =>
      report(await (await import("./get.ts")).runGet({ kind, name }, options, context)),
    );
  program
    .command("new")
    .description("make a function and its Trigger")
    .argument("<name>")
    .requiredOption("-t, --type <type>", "the event type it wants")
    .option("--broker <broker>", "its broker", "default")
    .option("--functions <folder>", "where functions are", "functions")
    .option("--manifests <folder>", "where manifests are", "knative")
    .option("--json", "print JSON")
    .action(async (name, options) => report(await (await import("./new.ts")).runNew(name, options, context)));
}

function addEvents(program: Command, context: CliContext, report: Report): void {
  withEvent(program.command("send").description("send an event").argument("<type>")).action(
    async (type, options) => report(await (await import("./send.ts")).runSend(type, options, context)),
  );
  withEvent(program.command("request").description("send an event and wait for its reply").argument("<type>"))
    .option("-w, --wait <duration>", "how long (default: as the mesh is configured)")
    .option("--reply-type <type>", "the first event of this type in the flow is the reply")
    .action(async (type, options) =>
      report(await (await import("./request.ts")).runRequest(type, options, context)),
    );
  withServer(program.command("tail").description("follow what happens to events")).action(async (options) =>
    report(await (await import("./tail.ts")).runTail(options, context)),
  );
  withServer(
    program
      .command("why")
      .description("who wants an event and why, and where it is now")
      .argument("<event-id>"),
  )
    .option("-n, --namespace <namespace>", "only this namespace")
    .option("-b, --broker <broker>", "only this broker")
    .option("-s, --source <source>", "only an event of this source")
    .action(async (id, options) => report(await (await import("./why.ts")).runWhy(id, options, context)));
  withServer(program.command("status").description("the mesh at a glance")).action(async (options) =>
    report(await (await import("./status.ts")).runStatus(options, context)),
  );
}

function addDead(program: Command, context: CliContext, report: Report): void {
  const dead = program.command("dead").description("events that could not be delivered");
  withLetters(dead.command("list").description("list them")).action(async (options) =>
    report(await (await import("./dead.ts")).runDeadList(options, context)),
  );
  withServer(dead.command("show").description("one, with every attempt").argument("<id>")).action(
    async (id, options) => report(await (await import("./dead.ts")).runDeadShow(id, options, context)),
  );
  withChosen(dead.command("redrive").description("send them to their trigger again"))
    .option(
      "--edit [file]",
      "send an edited event: opens $EDITOR, or reads the file (- for stdin); one id only",
    )
    .action(async (ids, options) =>
      report(await (await import("./dead.ts")).runDeadRedrive(ids, options, context)),
    );
  withChosen(dead.command("discard").description("delete them")).action(async (ids, options) =>
    report(await (await import("./dead.ts")).runDeadDiscard(ids, options, context)),
  );
}

function addTriggers(program: Command, context: CliContext, report: Report): void {
  for (const verb of ["pause", "resume"] as const) {
    const text = verb === "pause" ? "let a trigger's events wait" : "deliver a paused trigger's events again";
    withTrigger(program.command(verb).description(text)).action(async (trigger, options) =>
      report(await (await import("./trigger.ts")).runPause(trigger, { ...options, verb }, context)),
    );
  }
  withTrigger(
    program.command("rewind").description("deliver everything again from a place on, in the usual way"),
  )
    .requiredOption("--to <place>", "first, seq:N, time:T or since:PT1H")
    .action(async (trigger, options) =>
      report(await (await import("./trigger.ts")).runRewind(trigger, options, context)),
    );
  withTrigger(program.command("replay").description("deliver past events again, to this trigger only"))
    .requiredOption("--from <place>", "first, a sequence, a time, or since:PT1H")
    .option("--to <place>", "the last sequence or time (default: what is stored now)")
    .option("--rate <rate>", "at most so many, e.g. 10/s")
    .option("--dry-run", "only say which events it would be")
    .action(async (trigger, options) =>
      report(await (await import("./trigger.ts")).runReplay(trigger, options, context)),
    );
}

function withTrigger(command: Command): Command {
  return withServer(command.argument("<trigger>")).option(
    "-n, --namespace <namespace>",
    "its namespace",
    "default",
  );
}

function addTools(program: Command, context: CliContext, report: Report): void {
  withServer(program.command("doctor").description("check this machine and the mesh")).action(
    async (options) => report(await (await import("./doctor.ts")).runDoctor(options, context)),
  );
  const filter = program.command("filter").description("try filter expressions");
  filter
    .command("eval")
    .description('CESQL: JSON lines {"expression", "event"} on stdin, one JSON line out each')
    .option("--json", "accepted for uniformity; the output is JSON lines")
    .action(async () => {
      const { runFilterEval } = await import("./filter-eval.ts");
      await runFilterEval(context.stdin, context.stdout);
      report(0);
    });
  program
    .command("test")
    .description("check which triggers want which events, from YAML fixtures; no mesh needed")
    .argument("<file...>")
    .option("--junit", "print JUnit XML")
    .option("--json", "print JSON")
    .action(async (files: string[], options: { junit?: boolean; json?: boolean }) => {
      const { runTestFixtures } = await import("./test-fixtures.ts");
      const format = options.junit ? "junit" : options.json ? "json" : "human";
      report(
        await runTestFixtures(files, {
          output: { write: context.out },
          errorOutput: { write: context.err },
          format,
        }),
      );
    });
}

function withServer(command: Command): Command {
  return command
    .option("--server <url>", "control address of the mesh (WEFT_SERVER)")
    .option("--data-dir <folder>", "data directory of a mesh on this machine (WEFT_DATA_DIR)")
    .option("--json", "print JSON");
}

function withEvent(command: Command): Command {
  return withServer(command)
    .option("-d, --data <data>", "JSON, or text")
    .option("-b, --broker <broker>", "the broker", "default")
    .option("-n, --namespace <namespace>", "its namespace", "default")
    .option("-s, --source <source>", "the event's source", "/weft/cli")
    .option("--id <id>", "the event's id (default: a random one)")
    .option("--subject <subject>", "the event's subject")
    .option("-e, --extension <name=value>", "an extension attribute; repeatable", collect, []);
}

function withLetters(command: Command): Command {
  return withServer(command)
    .option("-n, --namespace <namespace>", "only this namespace")
    .option("-b, --broker <broker>", "only this broker")
    .option("-t, --trigger <trigger>", "only this trigger")
    .option("--type <type>", "only events of this type")
    .option("--reason <reason>", "only those that died of this, e.g. RetriesExhausted")
    .option("--since <time>", "only those since a time (RFC 3339) or of the last, e.g. PT1H");
}

function withChosen(command: Command): Command {
  return withLetters(command.argument("[id...]"))
    .option("--all", "all that `dead list` lists with the same filters")
    .option("--rate <rate>", "at most so many, e.g. 10/s")
    .option("--dry-run", "only say which it would be");
}

function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}
