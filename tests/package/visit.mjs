// A visit to a page that describes a picture at the press of its button, and what that fetched.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { packageFiles } from "./setup.mjs";
import { readFiles } from "./tarball.mjs";

const GPU_ENGINE = "dist/llava-web/engine.wasm";
/** How long an answer may take on a software GPU beside other work, in ms. */
const PATIENCE = 180_000;
/** After that many ms a page has fetched what it fetches unasked. */
const IDLE = 500;

/** Presses the button of the page at `url` in a fresh profile. Resolves to what `press` does. */
export async function visit(browser, url) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    return await press(page, url);
  } finally {
    await context.close();
  }
}

/**
 * Opens `url` in `page` and presses the button. Resolves to the answer, what the console complained of, the URLs fetched before and
 * after, the workers that ran before, and the seconds until the answer.
 */
export async function press(page, url) {
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  let fetched = [];
  page.context().on("request", (request) => /^https?:/.test(request.url()) && fetched.push(request.url()));
  await page.goto(url);
  const button = page.locator("button:enabled", { hasText: "describe" });
  await button.waitFor({ timeout: PATIENCE });
  await page.waitForTimeout(IDLE);
  const [before, workers] = [fetched, page.workers().length];
  fetched = [];
  const pressed = performance.now();
  await button.click();
  await page.locator("output", { hasText: /./ }).waitFor({ timeout: PATIENCE });
  const answer = await page.locator("output").textContent();
  return { answer, errors, before, after: fetched, workers, seconds: (performance.now() - pressed) / 1000 };
}

/**
 * Fails unless the picture was described truly, without complaints, and nothing of engine and model was fetched before the button was
 * pressed, and then once each file of the model, and one engine: the browser's GPU is software, so that is the CPU's. Returns what to print.
 */
export async function checkVisit({ answer, errors, before, after, workers, seconds }) {
  assert.deepEqual(errors, []);
  checkAnswer(answer);
  assert.equal(workers, 0, "a page that describes nothing starts no worker");
  const [early, late] = await Promise.all([before, after].map(measure));
  assert.deepEqual([...early.parts.keys()], [], "a page that describes nothing fetches neither engine nor model");
  assert.deepEqual([...late.parts], (await parts()).filter((path) => path !== GPU_ENGINE).map((path) => [path, 1]), "each file of engine and model is fetched once");
  const [page, engine, model] = [early.code, late.code, late.model].map(kilobytes);
  return `answer after ${seconds.toFixed(1)} s; page ${page}, then code and engine ${engine}, model ${model} (gzip)`;
}

/** The picture that all of them describe: samples/scenes-6.jpg. */
export function checkAnswer(answer) {
  assert.match(answer, /teal circle/);
  assert.match(answer, /brown circle/);
}

/** Fails unless each file of engine and model is once, and unchanged, in what an app's build has put out. Returns what to print. */
export async function checkOutput(folder) {
  const shipped = await hashes();
  const files = [...(await readFiles(folder))].filter(([path]) => !path.endsWith(".map"));
  const found = files.map(([, bytes]) => shipped.get(sha256(bytes))).filter((path) => path !== undefined);
  assert.deepEqual(found.sort(), await parts());
  const [model, code] = [true, false].map((wanted) => files.filter(([, bytes]) => isModel(shipped.get(sha256(bytes))) === wanted));
  const size = (some, of) => kilobytes(some.reduce((sum, [, bytes]) => sum + of(bytes), 0));
  const sum = (some) => `${size(some, ({ length }) => length)}, ${size(some, gzipped)} gzip`;
  return `${files.length} files: code and engine ${sum(code)}; model ${sum(model)}`;
}

/** Fetches the URLs once more: which parts of the package are among them and how often, and gzipped sizes. */
async function measure(urls) {
  const shipped = await hashes();
  const result = { parts: new Map(), code: 0, model: 0 };
  for (const url of urls) {
    const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
    const path = shipped.get(sha256(bytes));
    if (path) result.parts.set(path, (result.parts.get(path) ?? 0) + 1);
    if (isModel(path)) result.model += gzipped(bytes);
    else if (!isPicture(url)) result.code += gzipped(bytes);
  }
  result.parts = new Map([...result.parts].sort());
  return result;
}

const isModel = (path) => path?.startsWith("dist/llava-web/model/") ?? false;
const isPicture = (url) => new URL(url).pathname.includes("/samples/");

/** Engines and model: what a page is not to fetch before it needs it. */
async function parts() {
  const paths = [...(await packageFiles()).keys()];
  return paths.filter((path) => path.endsWith(".wasm") || (isModel(path) && !path.endsWith(".md"))).sort();
}

let hashesOnce;

/** Paths of engine and model by the SHA-256 of what is in them. */
function hashes() {
  hashesOnce ??= (async () => {
    const files = await packageFiles();
    return new Map((await parts()).map((path) => [sha256(files.get(path)), path]));
  })();
  return hashesOnce;
}

const gzips = new Map();

function gzipped(bytes) {
  const hash = sha256(bytes);
  if (!gzips.has(hash)) gzips.set(hash, gzipSync(bytes, { level: 9 }).length);
  return gzips.get(hash);
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

const kilobytes = (bytes) => `${Math.round(bytes / 1000)} kB`;
