// Tiny checkpoints through the package's engine, against transformers' greedy tokens (checkpoints.py); tests/golden.rs does the same natively,
// stage by stage.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const HERE = fileURLToPath(new URL("./", import.meta.url));

export const CHECKPOINTS = ["gqa", "tied", "biased", "lite0", "mci3"];
export const FORMATS = ["f32", "f16", "q8", "q4"];

/** Where the top two logits are closer than this, either may win. */
const MARGIN = 6e-3;
const MAX_TOKENS = 32;

/** Makes a bundle of a checkpoint in the folder `out`; of one that is a config.json alone, the weights too (convolutional.py). */
export async function convert(name, format, out) {
  const program = process.env.LLAVA_CONVERT;
  if (!program) throw new Error("LLAVA_CONVERT must name llava-convert: run `cargo xtask test`");
  let folder = join(HERE, "checkpoints", name);
  if (!existsSync(join(folder, "tokenizer.json"))) {
    await promisify(execFile)(program, ["synthetic", join(folder, "config.json"), `${out}-model`]);
    folder = `${out}-model`;
  }
  await promisify(execFile)(program, [folder, out, "--quant", format]);
}

/** What to ask a model of that checkpoint, loaded with keys and values in f32; `image` are a picture's bytes. */
export async function question(name) {
  const { picture, prompt } = await golden(name);
  return { image: await readFile(join(HERE, "pictures", picture)), prompt, max_tokens: MAX_TOKENS };
}

/** Fails unless the model has answered as transformers does with the same weights, as far as that is certain. */
export async function assertTokens(name, format, { token_ids, usage }) {
  const { tokens, margins, prompt_ids } = (await golden(name)).quantizations[format];
  const close = margins.findIndex((margin) => margin <= MARGIN);
  const certain = close < 0 ? margins.length : close;
  assert.ok(certain > 0, "nothing is certain");
  assert.deepEqual(token_ids.slice(0, certain), tokens.slice(0, certain), `${name} ${format}`);
  assert.equal(usage.prompt_tokens, prompt_ids.length);
}

async function golden(name) {
  return JSON.parse(await readFile(join(HERE, `checkpoints/${name}.json`), "utf8"));
}
