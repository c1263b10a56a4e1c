/** The command line `edgewise`. It talks HTTP only; every command says what it needs with --help. */
import { Argument, Command, CommanderError, InvalidArgumentError } from "commander";
import { ApiError } from "./client.ts";
import { keysCreate, appsCreate, token } from "./commands/apps.ts";
import { convert, importFiles } from "./commands/import.ts";
import { itemsDelete, itemsGet, itemsPut, recommend } from "./commands/items.ts";
import { modelsCanary, modelsList, modelsPromote, modelsPush, modelsRollback } from "./commands/models.ts";
import { jobsCancel, jobsList, jobsShow, jobsWatch, retrain } from "./commands/training.ts";
import {
  webhooksAdd,
  webhooksDeliveries,
  webhooksList,
  webhooksRemove,
  webhooksReplay,
  webhooksSecret,
} from "./commands/webhooks.ts";
import { DATASETS } from "./convert.ts";
import { FileError } from "./readers/row.ts";
import { UsageError } from "./settings.ts";

/** 0: all fine, 2: some rows were bad, 1: it failed. */
const FAILED = 1;

function count(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value === 0 || (value >= 0.01 && value <= 0.5)))
    throw new InvalidArgumentError("It must be 0, or lie between .01 and .5.");
  return value;
}

const datasets = Object.entries(DATASETS)
  .map(([name, { about }]) => `  ${name}: ${about}`)
  .join("\n");

/** A command that calls the server with the app's secret key. */
function connected(command: Command): Command {
  return command
    .option("--url <url>", "address of the server (default: EDGEWISE_URL, then what npm start wrote down)")
    .option("--key <key>", "secret key of the app; better in EDGEWISE_KEY, where no process list shows it");
}

function build(): Command {
  const program = new Command("edgewise").description(
    "Edgewise from the command line: data in, models in, recommendations out",
  );
  program.showHelpAfterError("(edgewise <command> --help tells more)").exitOverride();

  connected(program.command("import"))
    .description("Import items, events and lists from CSV, JSON Lines or Parquet files")
    .option(
      "--items <file...>",
      "columns id, title and optional text, creator, origin, createdAt, price, currency, attributes",
    )
    .option(
      "--events <file...>",
      "columns userId, itemId, type, occurredAt and optional id, value, quantity, sessionId, surface, ...",
    )
    .option(
      "--lists <file...>",
      "exposures: columns listId, userId, occurredAt, itemId, position, propensity and optional policy, ...",
    )
    .option("--dataset <name>", `convert a research pack and import it:\n${datasets}`)
    .option("--data <dir>", "folder of the packs (default: shared/data beside the checkout)")
    .option("--backfill", "events are history: any time from 1970 on, no clock correction", false)
    .option("--batch <rows>", "rows of a request", count(1, 1000))
    .option("--again", "import files that were imported to their end once more; ids keep events from doubling", false)
    .addHelpText(
      "after",
      "\nAn import that was stopped goes on where it was. Exit status: 0 all fine, 2 some rows were bad, 1 failed.",
    )
    .action(importFiles);

  program
    .command("convert")
    .description("Convert a research pack to items.csv and events.csv, without a server")
    .requiredOption("--dataset <name>", `one of\n${datasets}`)
    .option("--data <dir>", "folder of the packs (default: shared/data beside the checkout)")
    .option("--out <dir>", "where to (default: .cache/import/<name>)")
    .action(convert);

  const models = program.command("models").description("Artefacts of the trainer");
  connected(models.command("push"))
    .description("Upload an artefact folder and register it")
    .argument("<dir>", "folder with manifest.json")
    .requiredOption("--id <id>", "name of the model in the app")
    .option("--promote", "serve it when it is registered", false)
    .action(modelsPush);
  connected(models.command("promote")).description("Serve a registered model").argument("<id>").action(modelsPromote);
  connected(models.command("canary"))
    .description("Show a model to a share of users, the same ones each time; 0 ends it")
    .argument("<id>")
    .requiredOption("--share <share>", "0, or .01 to .5", share)
    .action(modelsCanary);
  connected(models.command("rollback"))
    .description("Take the serving model back: what served before serves again")
    .argument("<id>")
    .option("--reason <text>", "why, for whoever listens")
    .action(modelsRollback);
  connected(models.command("list")).description("Models of the app").action(modelsList);

  connected(program.command("retrain"))
    .description("Ask for a new model: a trainer (npm run trainer) will take the job")
    .option("--reason <text>", "why, for people and logs", "asked for on the command line")
    .option("--follow", "print progress until the job ends; exit status 1 when no model is promoted", false)
    .action(retrain);
  const jobs = program.command("jobs").description("Training jobs");
  connected(jobs.command("list")).description("Newest first").action(jobsList);
  connected(jobs.command("show"))
    .description("A job with its history and the gate's checks")
    .argument("<id>")
    .action(jobsShow);
  connected(jobs.command("watch")).description("Progress until the job ends").argument("<id>").action(jobsWatch);
  connected(jobs.command("cancel")).argument("<id>").action(jobsCancel);

  const webhooks = program.command("webhooks").description("Who hears of what happens, and who may ask for training");
  connected(webhooks.command("add"))
    .description("Send events to an address, signed by Standard Webhooks")
    .argument("<url>")
    .option("--type <type...>", "such as training.requested, job.completed, model.promoted (default: all)")
    .action(webhooksAdd);
  connected(webhooks.command("list")).action(webhooksList);
  connected(webhooks.command("remove")).argument("<id>").action(webhooksRemove);
  connected(webhooks.command("deliveries"))
    .description("What was sent to an endpoint")
    .argument("<id>")
    .action(webhooksDeliveries);
  connected(webhooks.command("replay"))
    .description("Send a message again")
    .argument("<id>")
    .argument("<message>")
    .action(webhooksReplay);
  connected(webhooks.command("secret"))
    .description("A secret for those who ask for training by webhook")
    .addArgument(new Argument("<scheme>").choices(["standard", "github"]))
    .action(webhooksSecret);

  const items = program.command("items").description("Single items of the catalogue");
  connected(items.command("get")).argument("<id>").action(itemsGet);
  connected(items.command("put"))
    .argument("<id>")
    .argument("<json>", 'the item, such as {"title":"Lentil dal"}; - reads it from standard input')
    .action(itemsPut);
  connected(items.command("delete")).argument("<id>").action(itemsDelete);

  connected(program.command("recommend"))
    .description("Recommendations for a user")
    .requiredOption("--user <id>", "the user")
    .option("--count <n>", "how many", count(1, 100), 10)
    .option("--json", "print the whole answer", false)
    .action(recommend);

  const url = ["--url <url>", "address of the server (default: EDGEWISE_URL, then what npm start wrote down)"] as const;
  program
    .command("apps")
    .description("Apps, with the operator's key from EDGEWISE_OPERATOR_KEY")
    .command("create")
    .argument("<name>")
    .option(...url)
    .action(appsCreate);
  program
    .command("keys")
    .description("Keys of an app, with the operator's key from EDGEWISE_OPERATOR_KEY")
    .command("create")
    .requiredOption("--app <id>", "app_...")
    .option("--kind <kind>", "secret, publishable or userTokenSecret", "secret")
    .option("--scope <scope...>", "what a secret key may do (default: everything)")
    .option(...url)
    .action(keysCreate);
  program
    .command("token")
    .description("Sign a user token with EDGEWISE_TOKEN_KID and EDGEWISE_TOKEN_SECRET, or the local demo's")
    .argument("<user>")
    .option("--events", "write-only token for posting events, 30 days", false)
    .option("--hours <n>", "life of the token", count(1, 720))
    .action(token);
  return program;
}

try {
  await build().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode;
  else {
    const isExpected = error instanceof UsageError || error instanceof FileError || error instanceof ApiError;
    const message = error instanceof Error ? error.message : String(error);
    console.error(`edgewise: ${message}`);
    if (!isExpected && process.env["EDGEWISE_DEBUG"] !== undefined) console.error(error);
    process.exitCode = FAILED;
  }
}
