// Describes pictures from the command line: the built package in headless Chromium, with text or JSON on stdout.
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launch } from "./browser.mjs";
import { MOUNTS, serveFiles, serveIsolated, start } from "./serve.mjs";

const USAGE = `usage: caption <picture> [prompt] [options]
       caption --batch FILE.jsonl [options]

  --model DIR|URL   the bundle to use: a folder, or an address (default: the model that ships with the package)
  --input JSON      further input fields, as in '{"raw":true,"max_tokens":32}'
  --batch FILE      one input object per line, the picture by its path from here or from the file; prints one JSON object per line
  --json            print a JSON object: description, token_ids, prompt_tokens, finish_reason, timings, model, adapter
  --device KIND     auto (default), gpu or cpu
  --hardware        let it use this machine's GPU; without, there is one in software, which auto leaves alone`;

const OPTIONS = {
  model: { type: "string" },
  input: { type: "string" },
  batch: { type: "string" },
  json: { type: "boolean", default: false },
  device: { type: "string" },
  hardware: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
};

const say = (message) => process.stderr.write(`${message}\n`);

async function main() {
  const { values, positionals } = readArguments();
  if (values.help) return console.log(USAGE);
  const jobs = values.batch ? await readBatch(values) : [await withPicture(single(values, positionals))];
  say("starting the browser");
  const folder = values.model !== undefined && !isUrl(values.model) ? resolve(values.model) : undefined;
  if (folder !== undefined && !(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new Error(`--model: there is no folder ${values.model}`);
  }
  const server = await start({ handler: serveIsolated(serveFiles(folder ? { ...MOUNTS, "/model/": folder } : MOUNTS)) });
  const browser = await launch({ gpu: values.hardware ? "hardware" : "software" });
  try {
    const page = await openPage(browser, server.origin);
    await loadModel(page, folder ? `${server.origin}/model/` : values.model, values.device);
    for (const job of jobs) await report(page, job, values);
  } finally {
    await browser.close();
    await server.close();
  }
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
    if (!values.help && (values.batch ? positionals.length > 0 : positionals.length > 2)) throw new Error("too many arguments");
    if (!values.help && !values.batch && positionals.length === 0 && !values.input) throw new Error("which picture?");
    return { values, positionals };
  } catch (error) {
    throw new Error(`${error.message}\n\n${USAGE}`);
  }
}

/** A job: the input object and the folders that its picture's path may start from, or why there is none. */
function single({ input }, [image, prompt]) {
  const fields = { ...parseObject(input ?? "{}", "--input") };
  if (image !== undefined) fields.image = image;
  if (prompt !== undefined) fields.prompt = prompt;
  return { input: fields, folders: ["."] };
}

async function readBatch({ batch, input }) {
  const common = parseObject(input ?? "{}", "--input");
  const text = await readFile(batch, "utf8").catch((error) => {
    throw new Error(`--batch: ${batch} cannot be read: ${error.message}`);
  });
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [{ input: { ...common, ...parseObject(line, `line ${index + 1}`) }, folders: [".", dirname(batch)] }];
    } catch (error) {
      return [{ error }];
    }
  });
}

function parseObject(json, where) {
  let value;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new Error(`${where} is not valid JSON: ${error.message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${where} must be a JSON object`);
  return value;
}

function isUrl(text) {
  return /^(https?|data):/i.test(text);
}

/** An empty page on the server's origin with the package loaded. */
async function openPage(browser, origin) {
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (message.type() === "warning" || message.type() === "error") say(`browser: ${message.text()}`);
  });
  page.on("pageerror", (error) => say(`browser: ${error.message}`));
  await page.route(`${origin}/caption`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>caption</title>" }));
  await page.goto(`${origin}/caption`);
  return page;
}

async function loadModel(page, url, device) {
  let shown = -1;
  await page.exposeFunction("tellProgress", ({ phase, loaded, total }) => {
    const tenth = total > 0 ? Math.floor((10 * loaded) / total) : 0;
    const step = `${phase}${tenth}`;
    if (step !== shown) say(describeProgress(phase, loaded, total));
    shown = step;
  });
  await settle(
    page.evaluate(
      async ({ url, device }) => {
        const plain = ({ code, message }) => ({ error: { code, message } });
        try {
          const { load } = await import("/dist/index.js");
          globalThis.model = await load(url, { device, onProgress: globalThis.tellProgress });
          return {};
        } catch (error) {
          return plain(error);
        }
      },
      { url, device },
    ),
  );
}

function describeProgress(phase, loaded, total) {
  if (phase === "compile") return "compiling shaders";
  return total > 0 ? `${phase}: ${megabytes(loaded)} of ${megabytes(total)} MB` : "loading the model";
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

/** Runs one job and prints its answer; with --batch an error is printed in the answer's place. */
async function report(page, job, { batch, json }) {
  try {
    if (job.error) throw job.error;
    const answer = await run(page, await withPicture(job));
    console.log(batch || json ? JSON.stringify(answer) : answer.description);
  } catch (error) {
    if (!batch) throw error;
    process.exitCode = 1;
    console.log(JSON.stringify({ error: { code: error.code ?? "invalid_input", message: error.message } }));
  }
}

/** The input with the picture's file read, if it is given by a path. */
async function withPicture(job) {
  const { input, folders } = job;
  const { image } = input;
  if (typeof image !== "string" || isUrl(image)) return job;
  for (const folder of folders) {
    const bytes = await readFile(resolve(folder, image)).catch((error) => {
      if (error.code === "ENOENT") return undefined;
      throw new Error(`${basename(image)} cannot be read: ${error.message}`);
    });
    if (bytes) return { input: { ...input, image: undefined }, base64: bytes.toString("base64") };
  }
  throw new Error(`there is no picture ${image}`);
}

async function run(page, job) {
  const { description, token_ids, usage, finish_reason, timings, model, adapter } = await settle(
    page.evaluate(async ({ input, base64 }) => {
      try {
        const image = base64 === undefined ? input.image : Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        return await globalThis.model.run({ ...input, image });
      } catch ({ code, message }) {
        return { error: { code, message } };
      }
    }, { input: job.input, base64: job.base64 }),
  );
  return { description, token_ids, prompt_tokens: usage.prompt_tokens, finish_reason, timings, model, adapter };
}

/** What the page sent back: its value, or its error thrown here. */
async function settle(promise) {
  const { error, ...value } = await promise;
  if (error) throw Object.assign(new Error(error.message), { code: error.code });
  return value;
}

await main().catch((error) => {
  say(`error: ${error.code ? `${error.message} [${error.code}]` : error.message}`);
  process.exitCode = 1;
});
