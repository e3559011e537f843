// A model of full size through the built package in headless Chromium: what memory the load takes, whether the answer is the
// native build's, what a second load asks for, and what ten killed browsers cost. `cargo xtask bench --load` runs it.
import { mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { launchProfile } from "../www/scripts/browser.mjs";
import { bundle, definitions, readEngines } from "../www/scripts/bundle.mjs";
import { MOUNTS, PACKAGE, serveFiles, start } from "../www/scripts/serve.mjs";

const { values: options } = parseArgs({
  options: {
    bundle: { type: "string" },
    tokens: { type: "string" }, // the native build's answer, as JSON: { prompt, token_ids }
    "context-length": { type: "string" },
    kills: { type: "string", default: "10" },
    hardware: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const print = options.json ? () => {} : (line) => console.log(line);

const HERE = dirname(fileURLToPath(import.meta.url));
const SAMPLE_MS = 250;
const WASM_LIMIT = 512e6;
const HEAP_LIMIT = 256e6;
const GPU_SHARE = 1.1;
/** Bytes that have come and are not yet stored when a browser is killed: AT_RISK of www/src/weights/loader.ts. */
const LOST_BY_A_KILL = 64 * 1024 * 1024;

/** Runs in the worker before the package's own code: keeps hold of the wasm's memory, and counts the GPU's buffers. */
const METER = () => {
  const meter = { gpu: 0, gpuMost: 0 };
  globalThis.meter = meter;
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...given) => {
      const made = await original.apply(WebAssembly, given);
      meter.memory = (made.instance ?? made).exports.memory;
      return made;
    };
  }
  // A buffer's memory is free when it is destroyed, or when it is collected as garbage.
  const sizes = new Map();
  const free = (key) => {
    meter.gpu -= sizes.get(key) ?? 0;
    sizes.delete(key);
  };
  const collected = new FinalizationRegistry(free);
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    buffer.meterKey = {};
    sizes.set(buffer.meterKey, descriptor.size);
    collected.register(buffer, buffer.meterKey);
    meter.gpu += descriptor.size;
    meter.gpuMost = Math.max(meter.gpuMost, meter.gpu);
    return buffer;
  };
  const { destroy } = GPUBuffer.prototype;
  GPUBuffer.prototype.destroy = function () {
    free(this.meterKey);
    return destroy.call(this);
  };
};

/** The package and the bundle on one address. `site.sent` counts the bundle's bytes, `site.requests` what was asked of it. */
async function serve() {
  const files = serveFiles({ ...MOUNTS, "/model/": options.bundle });
  const chunksOnly = await bundle("worker", await definitions(await readEngines(join(PACKAGE, "dist/llava-web"))), { glue: join(HERE, "chunks-only.js"), write: false });
  const site = { sent: 0, requests: 0, chunksOnly: false };
  const script = (response, source) => response.writeHead(200, { "content-type": "text/javascript" }).end(source);
  const handler = async (request, response) => {
    if (request.url === "/blank") return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>load</title>");
    if (request.url === "/favicon.ico") return response.writeHead(204).end();
    if (request.url === "/dist/llava-web/worker.js") {
      if (site.chunksOnly) return script(response, chunksOnly.outputFiles[0].text);
      const meter = `data:text/javascript,${encodeURIComponent(`(${METER})()`)}`;
      return script(response, `import "${meter}";\n${await readFile(join(PACKAGE, "dist/llava-web/worker.js"))}`);
    }
    if (request.url.startsWith("/model/")) {
      site.requests++;
      const { write } = response;
      response.write = function (piece, ...rest) {
        site.sent += piece.length;
        return write.call(this, piece, ...rest);
      };
    }
    return files(request, response);
  };
  return Object.assign(site, await start({ handler }));
}

async function openPage(profile, site) {
  const context = await launchProfile(profile, { gpu: options.hardware ? "hardware" : "software" });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && console.error(`browser: ${message.text()}`));
  await page.goto(`${site.origin}/blank`);
  return { context, page };
}

/** Loads in `page` and resolves to what `model.info` says, or rejects with the page's error; `onStored` is told what was stored before. */
async function load(page, site, loadOptions, onStored = () => {}) {
  await page.exposeFunction("tellStored", onStored);
  const { error, info } = await page.evaluate(
    async ([url, loadOptions]) => {
      try {
        const { load } = await import("/dist/index.js");
        let told = false;
        const onProgress = ({ total, from_cache }) => {
          if (!told && total > 0) globalThis.tellStored(from_cache);
          told ||= total > 0;
        };
        globalThis.model = await load(url, { ...loadOptions, onProgress });
        return { info: globalThis.model.info };
      } catch ({ code, message }) {
        return { error: `${message} [${code}]` };
      }
    },
    [`${site.origin}/model/`, loadOptions],
  );
  if (error) throw new Error(error);
  return info;
}

/** Samples the memory of page and worker until `stop()`, which resolves to the most that was seen, in bytes. */
async function watch(context, page) {
  const cdp = await context.newCDPSession(page);
  const workerHeap = await heapOfWorkers(cdp);
  const most = { wasm: 0, heap: 0, gpu: 0, samples: 0 };
  let going = true;
  const sample = async () => {
    const heap = (await cdp.send("Runtime.getHeapUsage")).usedSize + (await workerHeap());
    most.heap = Math.max(most.heap, heap);
    for (const worker of page.workers()) {
      const { wasm, gpu } = await worker.evaluate(() => ({ wasm: globalThis.meter?.memory?.buffer.byteLength ?? 0, gpu: globalThis.meter?.gpuMost ?? 0 }));
      most.wasm = Math.max(most.wasm, wasm);
      most.gpu = Math.max(most.gpu, gpu);
    }
    most.samples++;
  };
  const run = (async () => {
    while (going) {
      // A worker that has just begun or ended cannot answer.
      await sample().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
  })();
  return async () => {
    going = false;
    await run;
    await sample();
    return most;
  };
}

/** A function that resolves to the bytes on the heaps of all the page's workers, which only the debugger tells. */
async function heapOfWorkers(cdp) {
  const workers = new Set();
  const waiting = new Map();
  let id = 0;
  cdp.on("Target.attachedToTarget", ({ sessionId }) => workers.add(sessionId));
  cdp.on("Target.detachedFromTarget", ({ sessionId }) => workers.delete(sessionId));
  cdp.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result.usedSize);
    waiting.delete(id);
  });
  await cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  return async () => {
    let sum = 0;
    for (const sessionId of workers) {
      const answer = new Promise((resolve) => waiting.set(++id, resolve));
      await cdp.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method: "Runtime.getHeapUsage" }) });
      sum += await answer;
    }
    return sum;
  };
}

const rows = [];
/** Prints a figure and, where there is one, what it should be. */
function report(what, found, unit, limit) {
  const met = limit === undefined ? undefined : found <= limit;
  rows.push({ what, found, unit, limit, met });
  const wanted = limit === undefined ? "" : `   at most ${limit.toPrecision(3)}${met ? "" : "  MISSED"}`;
  print(`${what.padEnd(58)}${Number(found.toPrecision(4)).toString().padStart(10)} ${unit.padEnd(4)}${wanted}`);
}

async function folderBytes(folder) {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(names.map((name) => stat(join(folder, name))));
  return sizes.filter((file) => file.isFile()).reduce((sum, { size }) => sum + size, 0);
}

/** First load with everything measured, an answer, and a second load without a server. */
async function whole(site, total) {
  const profile = await mkdtemp(join(tmpdir(), "llava-web-load-"));
  const loadOptions = options["context-length"] ? { context_length: Number(options["context-length"]) } : {};
  try {
    let { context, page } = await openPage(profile, site);
    const stop = await watch(context, page);
    const info = await load(page, site, loadOptions);
    const native = JSON.parse(await readFile(options.tokens, "utf8"));
    const { token_ids } = await page.evaluate((prompt) => globalThis.model.run({ prompt, raw: true, max_tokens: 4 }), native.prompt);
    const most = await stop();
    report("first load", info.load_ms / 1000, "s");
    report("wasm memory, most of " + `${most.samples} samples`, most.wasm / 1e6, "MB", WASM_LIMIT / 1e6);
    report("JS heap of page and worker, most", most.heap / 1e6, "MB", HEAP_LIMIT / 1e6);
    report("GPU buffers, most, of the bundle's bytes", most.gpu / total, "x", GPU_SHARE);
    report("tokens that differ from the native build's", token_ids.filter((id, index) => id !== native.token_ids[index]).length + Math.abs(token_ids.length - native.token_ids.length), "", 0);
    await context.close();

    site.requests = 0;
    ({ context, page } = await openPage(profile, site));
    const again = await load(page, site, loadOptions);
    report("second load", again.load_ms / 1000, "s");
    report("requests of the second load", site.requests, "", 0);
    await context.close();
  } finally {
    await rm(profile, { recursive: true, force: true });
  }
}

/** The browser's processes are killed at random moments of one download. */
async function killed(site, total) {
  const profile = await mkdtemp(join(tmpdir(), "llava-web-load-"));
  const count = Number(options.kills);
  site.chunksOnly = true;
  site.sent = 0;
  try {
    const moments = Array.from({ length: count }, () => Math.random() * total).sort((a, b) => a - b);
    let [sent, lost, most] = [0, 0, 0];
    const onStored = (bytes) => {
      const byThisKill = sent - bytes - lost;
      lost += byThisKill;
      most = Math.max(most, byThisKill);
    };
    for (const moment of moments) {
      const { context, page } = await openPage(profile, site);
      sent = site.sent;
      const loading = load(page, site, {}, onStored).catch(() => undefined);
      while (site.sent < moment) await new Promise((resolve) => setTimeout(resolve, 5));
      await kill(context);
      await loading;
      print(`killed at ${(site.sent / 1e6).toFixed(0)} MB`);
    }
    let { context, page } = await openPage(profile, site);
    sent = site.sent;
    await load(page, site, {}, onStored);
    report(`bytes fetched with ${count} kills, of those of one download`, site.sent / total, "x", 1 + (count * LOST_BY_A_KILL) / total);
    report("of which a single kill cost at most", most / 1e6, "MB", LOST_BY_A_KILL / 1e6);
    await context.close();
    site.sent = 0;
    ({ context, page } = await openPage(profile, site));
    // The loader compares the hash of every file it reads; a damaged one would be fetched again.
    await load(page, site);
    report("bytes fetched again by a load after that", site.sent, "", 0);
    await context.close();
  } finally {
    site.chunksOnly = false;
    await rm(profile, { recursive: true, force: true });
  }
}

async function kill(context) {
  const cdp = await context.browser().newBrowserCDPSession();
  const { processInfo } = await cdp.send("SystemInfo.getProcessInfo");
  const closed = new Promise((resolve) => context.once("close", resolve));
  const browser = processInfo.find(({ type }) => type === "browser");
  process.kill(browser.id, "SIGKILL");
  await closed;
}

async function main() {
  const total = await folderBytes(options.bundle);
  const site = await serve();
  try {
    print(`bundle: ${(total / 1e9).toFixed(3)} GB`);
    if (Number(options.kills) > 0) await killed(site, total);
    if (options.tokens) await whole(site, total);
  } finally {
    await site.close();
  }
  if (options.json) console.log(JSON.stringify({ bundle_bytes: total, results: rows }));
  if (rows.some(({ met }) => met === false)) process.exitCode = 1;
}

await main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
// Killed browsers leave handles behind that would keep this process alive.
process.exit();
