#!/usr/bin/env node
// npx llava-web: answers a question about a picture.
import process from "node:process";
import { parseArgs } from "node:util";
import { createAI, DEFAULT_MODEL, LlavaError, type DeviceChoice, type LoadOptions, type LoadProgress } from "llava-web";
import { VERSION } from "./engine/build.js";

const USAGE = `usage: llava-web <picture> [question] [options]

  <picture>        a PNG, JPEG, WebP or GIF: a file, or a URL
  [question]       "What is in this picture?" where absent

  --model URL|DIR  the folder of a bundle that llava-convert has made; where absent the small model in the package
  --device WHAT    "cpu" or "gpu"; in Node there is the CPU
  --precision HOW  "fast" computes large products in 8 bits; "exact" where absent
  --json           print an object: description, usage, finish_reason, token_ids, token_logprobs, seed, timings, model, adapter
  --help           print this
  --version        print the package's version

Models from a URL are kept in LLAVA_WEB_CACHE, or in the user's cache folder.`;

const OPTIONS = {
  model: { type: "string" },
  device: { type: "string" },
  precision: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
} as const;

/** Goes to the start of the line and clears it. */
const CLEAR = "\r\x1b[K";

const { stdout, stderr } = process;

async function main(): Promise<void> {
  const { values, positionals } = readArguments();
  if (values.help) return stdout.write(`${USAGE}\n`);
  if (values.version) return stdout.write(`${VERSION}\n`);
  const [image, prompt, ...more] = positionals;
  if (image === undefined) throw wrongUse("The picture is missing");
  if (more.length > 0) throw wrongUse(`There is one picture and one question, and ${JSON.stringify(more[0])} is too much: put the question in quotes`);
  const { model = DEFAULT_MODEL, json = false } = values;
  const [device, precision] = [values.device as DeviceChoice | undefined, values.precision as LoadOptions["precision"]];
  const streaming = !json && stdout.isTTY === true;
  const onToken = (piece: string) => {
    progress.clear();
    if (streaming) stdout.write(piece);
  };
  const ai = createAI({ [model]: model }, { onWarning: ({ message }) => progress.tell(`warning: ${message}`) });
  try {
    const result = await ai.run(model, { image, prompt }, { device, precision, onToken, onProgress: progress.show });
    progress.clear();
    stdout.write(json ? `${JSON.stringify(result)}\n` : streaming ? "\n" : `${result.description}\n`);
  } finally {
    progress.clear();
    ai.dispose();
  }
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw wrongUse((error as Error).message);
  }
}

function wrongUse(problem: string): LlavaError {
  return new LlavaError("invalid_input", `${problem}. See llava-web --help.`);
}

/** A line on a terminal that tells how far a load is. */
const progress = {
  shown: "",
  show({ phase, loaded, total }: LoadProgress): void {
    const text = total > 0 ? `${phase}: ${Math.floor((100 * loaded) / total)} %` : "starting";
    if (!stderr.isTTY || text === progress.shown) return;
    stderr.write(CLEAR + text);
    progress.shown = text;
  },
  clear(): void {
    if (progress.shown !== "") stderr.write(CLEAR);
    progress.shown = "";
  },
  tell(line: string): void {
    progress.clear();
    stderr.write(`${line}\n`);
  },
};

// Who reads may have gone, or have no room.
stdout.on("error", (error) => {
  stderr.write(`error: the answer cannot be written: ${error.message} [io]\n`);
  process.exitCode = 1;
});
await main().catch((error: LlavaError) => {
  stderr.write(`error: ${error.message} [${error.code}]\n`);
  process.exitCode = 1;
});
