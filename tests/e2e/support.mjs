// What the tests of the package in a browser share: servers with faults, bundles made on the spot, pages.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import { bundle, definitions, readEngines } from "../../www/scripts/bundle.mjs";
import { MOUNTS, PACKAGE, serveFiles, start } from "../../www/scripts/serve.mjs";
import { BROWSER, kill, launchProfile } from "./browsers.mjs";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A page that never answers must not hold up the whole run; no file of tests takes this long, in ms. */
const LONGEST_RUN = 20 * 60_000;
setTimeout(() => {
  console.error(`the tests of this file took longer than ${LONGEST_RUN / 1000} s`);
  process.exit(1);
}, LONGEST_RUN).unref();

/** Options of a test of what only one browser does, or lets be done to it: `test(name, only("chromium"), ...)`. */
export const only = (browser) => ({ skip: BROWSER !== browser && `only in ${browser}` });

/** Small chunks, so that a bundle of several of them is quick to make and to send. */
const CHUNK_BYTES = 64 * 1024;

export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * A chunk's contents: the same for the same seed, so that two bundles can share it; as weights, nothing that a store
 * could compress.
 */
function chunk(seed, bytes) {
  return createHash("shake256", { outputLength: bytes }).update(`chunk ${seed}`).digest();
}

/**
 * A bundle with one chunk per seed, for the fake engine: its files by path. `more` are further fields of its manifest.
 */
export function makeBundle({ name = "fake", seeds = [1, 2, 3, 4, 5, 6], chunkBytes = CHUNK_BYTES, ...more } = {}) {
  const files = new Map();
  const put = (file, bytes) => {
    files.set(file, bytes);
    return { file, bytes: bytes.length, sha256: sha256(bytes) };
  };
  const chunks = seeds.map((seed, index) => {
    const bytes = chunk(seed, index === seeds.length - 1 ? chunkBytes / 2 : chunkBytes);
    return put(`chunks/${sha256(bytes)}.bin`, bytes);
  });
  const tokenizer = put("tokenizer.json", Buffer.from(JSON.stringify({ of: name })));
  const total_bytes = [tokenizer, ...chunks].reduce((sum, { bytes }) => sum + bytes, 0);
  const manifest = { format: "llava-web", version: 1, model: { name }, quantization: "q8", tokenizer, tensors: [], chunks, total_bytes, ...more };
  files.set("manifest.json", Buffer.from(JSON.stringify(manifest)));
  return { files, manifest, chunkPaths: chunks.map(({ file }) => file), total_bytes };
}

/** One bundle of two: of which pictures the first model says `answer`, the second one is asked. */
export function pairOf(first, second, question, answer) {
  const manifest = { ...first.manifest, second: { question, answer, manifest: second.manifest } };
  const files = new Map([...first.files, ...[...second.files].map(([path, bytes]) => [`second/${path}`, bytes])]);
  return { manifest, files: files.set("manifest.json", Buffer.from(JSON.stringify(manifest))) };
}

/** A bundle from its folder. */
export async function readBundle(folder) {
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  const names = ["manifest.json", manifest.tokenizer.file, ...manifest.chunks.map(({ file }) => file)];
  return { manifest, files: new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))]))) };
}

/** Servers and browsers, which keep a process running: those that a failed test has left open are closed at the end of its file. */
const opened = new Set();
after(() => Promise.all([...opened].map((one) => one.close())));

function closedAtTheEnd(one) {
  const close = one.close;
  opened.add(one);
  return Object.defineProperty(one, "close", { value: async () => opened.delete(one) && close.call(one) });
}

/**
 * A server of bundles that logs what was asked for. `fault(path, request, response)` may answer in its place by returning
 * true; `bundles` is by folder name.
 */
export async function serveBundles(bundles, fault = () => false) {
  const server = { requests: [], fault, bundles };
  const handler = async (request, response) => {
    const path = decodeURIComponent(request.url.slice(1));
    server.requests.push(path);
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-expose-headers", "retry-after");
    if (await server.fault(path, request, response)) return;
    const [folder, ...rest] = path.split("/");
    const bytes = server.bundles[folder]?.files.get(rest.join("/"));
    if (bytes) response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    else response.writeHead(404).end("no such file");
  };
  return Object.assign(server, closedAtTheEnd(await start({ handler })), {
    /** Requests for chunks since the last call. */
    takeChunks() {
      const chunks = server.requests.filter((path) => path.includes("/chunks/"));
      server.requests = [];
      return chunks;
    },
  });
}

/** The fake engines' wasm: nothing is compiled, but what is fetched must have the hash that page and worker expect. */
export const FAKE_WASM = Buffer.from("no wasm");

const WASM = ["engine.wasm", "engine-cpu.wasm"];

/** The packed page and a worker with the fake engine, made for each other. */
async function fakeScripts() {
  const real = Object.values(await readEngines(join(PACKAGE, "dist/llava-web"))).map(sha256);
  const page = await readFile(join(PACKAGE, "dist/index.js"), "utf8");
  const glue = fileURLToPath(new URL("fake-engine.js", import.meta.url));
  const { outputFiles } = await bundle("worker", await definitions({ gpu: FAKE_WASM, cpu: FAKE_WASM }), { glue, write: false });
  return { page: real.reduce((text, hash) => text.replaceAll(hash, sha256(FAKE_WASM)), page), worker: outputFiles[0].text };
}

/**
 * Serves the package. With `fake` the engine is tests/e2e/fake-engine.js instead of the built one; `prelude` is a script that
 * runs in the worker before the package's own code (to take something away from it). Models run on `device`, where that is absent on
 * the CPU, as the browser has a software GPU. `headers` go with every answer, `overrides`
 * answer for a path, `requests` are the paths asked for. `/build/` has the modules before bundling.
 */
export async function servePackage({ fake = false, prelude = "", device = fake ? "gpu" : undefined } = {}) {
  const files = serveFiles({ ...MOUNTS, "/build/": join(ROOT, "www/build") });
  const faked = fake ? await fakeScripts() : undefined;
  const site = { prelude, device, fake: faked, headers: {}, overrides: {}, requests: [] };
  const send = (response, type, body) => response.writeHead(200, { "content-type": type }).end(body);
  const handler = async (request, response) => {
    for (const [name, value] of Object.entries(site.headers)) response.setHeader(name, value);
    response.setHeader("access-control-allow-origin", "*");
    site.requests.push(request.url);
    if (site.overrides[request.url]) return site.overrides[request.url](response);
    if (request.url === "/blank") return send(response, "text/html", "<!doctype html><title>test</title>");
    if (fake && request.url === "/dist/index.js") return send(response, "text/javascript", faked.page);
    if (fake && WASM.some((name) => request.url === `/dist/llava-web/${name}`)) return send(response, "application/wasm", FAKE_WASM);
    if (request.url === "/dist/llava-web/worker.js" && (fake || site.prelude)) {
      const worker = faked?.worker ?? (await readFile(join(PACKAGE, "dist/llava-web/worker.js"), "utf8"));
      const before = site.prelude && `import "data:text/javascript,${encodeURIComponent(site.prelude)}";\n`;
      return send(response, "text/javascript", before + worker);
    }
    return files(request, response);
  };
  return Object.assign(site, closedAtTheEnd(await start({ handler })));
}

/** A browser on a profile of its own; `open(site)` gives an empty page of that site with the package in `globalThis.llava`. */
export async function openBrowser(options) {
  const profile = await mkdtemp(join(tmpdir(), "llava-web-test-"));
  let context = await launchProfile(profile, options);
  return closedAtTheEnd({
    get context() {
      return context;
    },
    async open(site, path = "/blank") {
      const page = await context.newPage();
      await page.goto(site.origin + path);
      if (path === "/blank") {
        await page.evaluate(async (device) => {
          globalThis.llava = await import("/dist/index.js");
          globalThis.llava.configure({ device });
          /** Runs `work` and gives back its value, or its error in a form that crosses to the test. */
          globalThis.attempt = async (work) => {
            try {
              return { value: await work() };
            } catch (error) {
              const { name, code, hosted_code, message } = error;
              // A test of a single module has the class of that.
              const { LlavaError } = await import("/build/basics/errors.js");
              const llava = error instanceof globalThis.llava.LlavaError || error instanceof LlavaError;
              return { error: { name, code, hosted_code, message, llava } };
            }
          };
        }, site.device);
      }
      return page;
    },
    /** Closes all pages and empties the site's storage. */
    async forget(site) {
      const page = await this.open(site);
      await Promise.all(context.pages().filter((other) => other !== page).map((other) => other.close()));
      await page.evaluate(() => new Promise((done, fail) => {
        const request = indexedDB.deleteDatabase("llava-web");
        request.onsuccess = () => done();
        request.onerror = () => fail(request.error);
      }));
      await page.close();
    },
    /** Kills the browser process and starts another one on the same profile. */
    async restart() {
      await kill(context, profile);
      context = await launchProfile(profile, options);
    },
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  });
}

/**
 * Gives each test of a file a server with `bundle` as `m` and an empty page of a browser that has stored nothing: `give` takes
 * both, with the browser and the site that serves the package; `fake` and `device` are as there, but for the fake engine where absent.
 */
export function eachWithFreshPage(bundle, give, { fake = true, device } = {}) {
  let browser, site, server;
  before(async () => {
    browser = await openBrowser();
    site = await servePackage({ fake, device });
  });
  after(async () => {
    await browser.close();
    await site.close();
  });
  beforeEach(async () => {
    site.prelude = "";
    server = await serveBundles({ m: bundle });
    await browser.forget(site);
    give({ browser, site, server, page: await browser.open(site) });
  });
  afterEach(() => server.close());
}

/** Runs in a page: a red circle on light grey, which stays there as `drawing` and, as a PNG file, as `bytes`. */
export async function drawRedCircle() {
  const canvas = (globalThis.drawing = new OffscreenCanvas(160, 120));
  const context = canvas.getContext("2d");
  context.fillStyle = "#ddd";
  context.fillRect(0, 0, 160, 120);
  context.fillStyle = "#e02020";
  context.arc(80, 60, 35, 0, 2 * Math.PI);
  context.fill();
  globalThis.bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
  return [...globalThis.bytes];
}

/**
 * A prelude, or a script in a page, that has the software adapter pass for a real one of which nothing is known: the variants for GPUs
 * come first then, of which every browser has several.
 */
export const AS_GPU = `
  for (const field of ["vendor", "architecture", "device", "description"]) Object.defineProperty(GPUAdapterInfo.prototype, field, { get: () => "" });
  Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });`;

/** For browsers whose GPU process is to crash often: after two or three times they would go on without a GPU. */
export const CRASHING = { args: ["--disable-gpu-process-crash-limit", "--disable-domain-blocking-for-3d-apis"] };

/** Kills the browser's GPU process, as a crash of the driver does. */
export async function crashGpu(browser, page) {
  const cdp = await browser.context.newCDPSession(page);
  await cdp.send("Browser.crashGpuProcess");
}

/** Loads `url` (or the default model) in `page` and gives back `{ value | error, progress, warnings }`; the model stays in `globalThis.model`. */
export function load(page, url, options = {}) {
  return page.evaluate(
    async ({ url, options }) => {
      const progress = [];
      const warnings = [];
      const outcome = await globalThis.attempt(async () => {
        globalThis.model = await globalThis.llava.load(url ?? globalThis.llava.DEFAULT_MODEL, {
          ...options,
          onProgress: (event) => progress.push(event),
          onWarning: ({ code, message }) => warnings.push({ code, message }),
        });
        return globalThis.model.info;
      });
      return { ...outcome, progress, warnings };
    },
    { url, options },
  );
}

/** Hashes of what is stored, read as the package does. */
export function storedHashes(page) {
  return page.evaluate(async () => {
    const { openStore } = await import("/build/weights/store.js");
    const store = await openStore();
    const hashes = [...(await store.hashes())];
    store.close();
    return hashes;
  });
}

/**
 * Fails unless the store is sound: every file has the hash it goes by and belongs to a model, and every model that
 * passes for whole has all of its files. Gives back the hashes.
 */
export async function assertSound(page) {
  const { wrong, stray, missing, hashes } = await page.evaluate(async () => {
    const { openStore } = await import("/build/weights/store.js");
    const { sha256 } = await import("/build/basics/sha256.js");
    const store = await openStore();
    const [hashes, models] = [await store.hashes(), await store.models()];
    const wrong = [];
    for (const hash of hashes) if ((await sha256(await store.get(hash))) !== hash) wrong.push(hash);
    store.close();
    const named = (states) => models.filter(({ state }) => states.includes(state)).flatMap(({ files }) => files.map(({ sha256 }) => sha256));
    const all = new Set(named(["partial", "ready"]));
    const missing = named(["ready"]).filter((hash) => !hashes.has(hash));
    return { wrong, stray: [...hashes].filter((hash) => !all.has(hash)), missing, hashes: [...hashes] };
  });
  assert.deepEqual({ wrong, stray, missing }, { wrong: [], stray: [], missing: [] });
  return hashes;
}
