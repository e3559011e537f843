// The GPU fails while a model loads: a typed error at once, and a further load in the same page works. The engine is
// the real one.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { load, openBrowser, ROOT, readBundle, serveBundles, servePackage } from "./support.mjs";

let browser, site, server, page, bundle;
before(async () => {
  bundle = await readBundle(`${ROOT}models/llava-sketches`);
  site = await servePackage();
});
after(() => site.close());
beforeEach(async () => {
  // One for each test: after a few crashes of the GPU's process a browser does without.
  browser = await openBrowser();
  site.prelude = "";
  server = await serveBundles({ m: bundle });
  page = await browser.open(site);
});
afterEach(async () => {
  await browser.close();
  await server.close();
});
const url = () => `${server.origin}/m/`;

async function crashGpu() {
  const cdp = await browser.context.newCDPSession(page);
  await cdp.send("Browser.crashGpuProcess");
}

/** The page's next load works and answers; of the bundle's chunks it fetches `chunks`. */
async function assertLoads(chunks) {
  server.takeChunks();
  const { error, value } = await load(page, url());
  assert.equal(error, undefined);
  assert.equal(value.model, "llava-sketches");
  assert.equal(server.takeChunks().length, chunks);
  const { description } = await page.evaluate(() => globalThis.model.run({ image: new ImageData(64, 64), max_tokens: 3 }));
  assert.notEqual(description, "");
}

test("the GPU's process crashes in mid-download: gpu, and the next load works", async () => {
  let reached;
  const held = new Promise((resolve) => (reached = resolve));
  server.fault = (path) => path.includes("/chunks/") && (reached(), true); // and never answer
  const failing = load(page, url());
  await held;
  // The engine opens its device before it asks for a chunk.
  const crashed = performance.now();
  await crashGpu();
  const { error } = await failing;
  assert.equal(error.code, "gpu", error.message);
  assert.match(error.message, /lost/);
  assert.ok(performance.now() - crashed < 10_000, "the load must not wait for the server to tell that the GPU is gone");
  server.fault = () => false;
  await assertLoads(bundle.manifest.chunks.length);
});

test("it crashes while shaders are compiled: gpu, and the next load fetches nothing", async () => {
  await page.exposeFunction("tellPhase", (phase) => phase === "compile" && crashGpu());
  const outcome = await page.evaluate(
    (url) => globalThis.attempt(() => globalThis.llava.load(url, { onProgress: ({ phase }) => globalThis.tellPhase(phase) })),
    url(),
  );
  assert.equal(outcome.error?.code, "gpu", JSON.stringify(outcome));
  await assertLoads(0);
});

test("GPU memory runs out while weights are uploaded: gpu, with what to do, and the next load works", async () => {
  // What a browser does where an allocation fails: the buffer is there, but an event tells that it is of no use.
  site.prelude = `
    const { createBuffer } = GPUDevice.prototype;
    let room = 1e6;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      room -= descriptor.size;
      const error = new GPUOutOfMemoryError("no memory");
      if (room < 0) queueMicrotask(() => this.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error })));
      return createBuffer.call(this, descriptor);
    };`;
  const { error } = await load(page, url());
  assert.equal(error?.code, "gpu", error?.message);
  assert.match(error.message, /out of memory.*context_length/);
  site.prelude = "";
  const { error: second } = await load(page, url());
  assert.equal(second, undefined);
});
