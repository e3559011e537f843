// What the tests of the package in Node share: the packed tarball installed in an empty folder, programs run there, a cache of their own.
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { readBundle, ROOT, sha256 } from "../e2e/support.mjs";

export { ROOT, serveBundles, sha256 } from "../e2e/support.mjs";

const tarball = process.env.LLAVA_TARBALL;
if (!tarball) throw new Error("LLAVA_TARBALL must name the packed package: run `cargo xtask test node`");

export const QUESTION = "What is in this picture?";
/** A picture, and what is said of it to QUESTION. */
export const PICTURE = join(ROOT, "tests/held-out/scene-0010.png");
export const SAID = "a blue heart";

/** The default model, as a host would serve it. */
export const MODEL = join(ROOT, "models/llava-sketches");
export const readModel = () => readBundle(MODEL);

/** No program that is run here takes this long, in ms. */
const LONGEST_PROGRAM = 120_000;

const folders = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

/** A folder that is gone at the end of this file of tests. */
export async function freshFolder() {
  const folder = await mkdtemp(join(tmpdir(), "llava-web-test-"));
  folders.push(folder);
  return folder;
}

/** An empty folder in which the tarball is installed, and nothing else. */
export const APP = await freshFolder();
await promisify(execFile)("npm", ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", tarball], { cwd: APP });

/** The installed package, as this program imports it; `dist/node.js` is what Node finds by its name. */
export const importPackage = () => import(pathToFileURL(join(APP, "node_modules/llava-web/dist/node.js")).href);

/** The environment of a program whose cache is `cache`; what a test runner says to its children is not meant for it. */
function environment(cache, more) {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  return { ...inherited, LLAVA_WEB_CACHE: cache, ...more };
}

/** Runs a command in the app; resolves to `{ code, stdout, stderr }`. */
export function run(command, args, { cache, cwd = APP, env = {} } = {}) {
  return new Promise((resolve) => {
    const child = execFile(command, args, { cwd, env: environment(cache, env), timeout: LONGEST_PROGRAM }, (error, stdout, stderr) =>
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr }),
    );
    child.stdin.end();
  });
}

let programs = 0;
async function writeProgram(source) {
  const file = join(APP, `program-${process.pid}-${programs++}.mjs`);
  await writeFile(file, source);
  return file;
}

/** Runs a module in the app; resolves to what it printed as JSON. */
export async function runProgram(source, options) {
  const { code, stdout, stderr } = await run(process.execPath, [await writeProgram(source)], options);
  if (code !== 0) throw new Error(`the program ended with ${code}\n${stdout}${stderr}`);
  return JSON.parse(stdout);
}

/** Starts a module in the app; `kill` ends it as a crash would, and resolves when it is gone. */
export async function startProgram(source, { cache }) {
  const child = spawn(process.execPath, [await writeProgram(source)], { cwd: APP, env: environment(cache), stdio: "ignore" });
  const gone = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  return {
    gone,
    kill: () => {
      child.kill("SIGKILL");
      return gone;
    },
  };
}

/** A program that loads `url`, asks about the picture and prints the answer, the warnings and how much was stored before. */
export const asking = (url, options = {}) => `
  import { load } from "llava-web";
  const warnings = [];
  let from_cache;
  const onWarning = ({ code, message }) => warnings.push({ code, message });
  const model = await load(${JSON.stringify(url)}, { ...${JSON.stringify(options)}, onWarning, onProgress: (progress) => (from_cache = progress.from_cache) });
  const answer = await model.caption(${JSON.stringify(PICTURE)}, ${JSON.stringify(QUESTION)});
  console.log(JSON.stringify({ answer, warnings, from_cache }));`;

/** Hashes of the files in a cache. */
export async function storedHashes(cache) {
  const names = await readdir(join(cache, "files")).catch(() => []);
  return names.filter((name) => !name.endsWith(".tmp"));
}

/** What is wrong with a cache: files without the hash they go by or that no model has, models that pass for whole and are not. */
export async function faults(cache) {
  const hashes = await storedHashes(cache);
  const names = (await readdir(join(cache, "models")).catch(() => [])).filter((name) => name.endsWith(".json"));
  const records = await Promise.all(names.map(async (name) => JSON.parse(await readFile(join(cache, "models", name), "utf8"))));
  const named = new Set(records.flatMap(({ files }) => files.map(({ sha256 }) => sha256)));
  const found = [];
  for (const hash of hashes) {
    if (sha256(await readFile(join(cache, "files", hash))) !== hash) found.push(`${hash} has another hash`);
    if (!named.has(hash)) found.push(`${hash} belongs to no model`);
  }
  for (const { state, files } of records.filter(({ state }) => state === "ready")) {
    for (const file of files) if (!hashes.includes(file.sha256)) found.push(`a model that is ${state} lacks ${file.sha256}`);
  }
  return found;
}

/** Waits until `check` holds. */
export async function until(check, what) {
  for (const began = Date.now(); Date.now() - began < 30_000; ) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`it never came: ${what}`);
}
