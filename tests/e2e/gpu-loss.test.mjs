// The GPU fails: while a model loads, a typed error at once, and a further load in the same page works; in mid-answer, the answer
// is the one that would have come. The engine is the real one.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { CRASHING, crashGpu, load, openBrowser, ROOT, readBundle, serveBundles, servePackage } from "./support.mjs";

let browser, site, server, page, bundle;
before(async () => {
  bundle = await readBundle(`${ROOT}models/llava-sketches`);
  site = await servePackage({ device: "gpu" });
});
after(() => site.close());
beforeEach(async () => {
  browser = await openBrowser(CRASHING);
  site.prelude = "";
  server = await serveBundles({ m: bundle });
  page = await browser.open(site);
});
afterEach(async () => {
  await browser.close();
  await server.close();
});
const url = () => `${server.origin}/m/`;

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
  await crashGpu(browser, page);
  const { error } = await failing;
  assert.equal(error.code, "gpu", error.message);
  assert.match(error.message, /lost/);
  assert.ok(performance.now() - crashed < 10_000, "the load must not wait for the server to tell that the GPU is gone");
  server.fault = () => false;
  await assertLoads(bundle.manifest.chunks.length);
});

test("it crashes while shaders are compiled: gpu, and the next load fetches nothing", async () => {
  await page.exposeFunction("tellPhase", (phase) => phase === "compile" && crashGpu(browser, page));
  const outcome = await page.evaluate(
    (url) => globalThis.attempt(() => globalThis.llava.load(url, { onProgress: ({ phase }) => globalThis.tellPhase(phase) })),
    url(),
  );
  assert.equal(outcome.error?.code, "gpu", JSON.stringify(outcome));
  await assertLoads(0);
});

/**
 * Script after which an allocation fails where `fails(size)` is true, as it does in a browser: the buffer is there, but it is of no
 * use, which an event tells; whatever it is bound to is refused.
 */
const noRoom = (fails) => `{
  const fails = ${fails};
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function ({ size, ...descriptor }) {
    if (!fails(size)) return createBuffer.call(this, { size, ...descriptor });
    this.pushErrorScope("validation");
    const invalid = createBuffer.call(this, { ...descriptor, size: 2 ** 50 });
    const error = new GPUOutOfMemoryError("no memory");
    void this.popErrorScope().then(() => this.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error, cancelable: true })));
    return invalid;
  };
}`;

test("GPU memory runs out while weights are uploaded: gpu, with what to do, and the next load works", async () => {
  site.prelude = `globalThis.room = 1e6;${noRoom("(size) => (globalThis.room -= size) < 0")}`;
  const { error } = await load(page, url());
  assert.equal(error?.code, "gpu", error?.message);
  assert.match(error.message, /out of memory.*context_length/);
  site.prelude = "";
  const { error: second } = await load(page, url());
  assert.equal(second, undefined);
});

/** There is as much room as a load and short questions take: `noRoom` from the first long prompt on. */
const NO_ROOM_FOR_LONG = `
  addEventListener("message", ({ data }) => (globalThis.long = data.input?.prompt?.length > 500));
  ${noRoom("() => globalThis.long")}`;

/** A short question, one that needs more memory than is left, and the short one again; `wait`: all at once. */
function askLong(wait) {
  return page.evaluate(async (wait) => {
    const ask = (prompt) => globalThis.attempt(() => globalThis.model.run({ image: new ImageData(64, 64), prompt, max_tokens: 4 }));
    const first = await ask("What is this?");
    const long = ask("a red circle and ".repeat(150));
    if (!wait) await long;
    const again = await ask("What is this?");
    return { first, long: await long, again, ended: globalThis.model.ended };
  }, wait);
}

function assertFailsAlone({ first, long, again, ended }) {
  assert.equal(first.error, undefined, first.error?.message);
  assert.equal(long.error?.code, "gpu", JSON.stringify(long));
  assert.match(long.error.message, /out of memory.*context_length/);
  assert.equal(again.error, undefined, again.error?.message);
  assert.deepEqual(again.value.token_ids, first.value.token_ids);
  assert.equal(ended, false);
}

test("a request for which there is no room fails alone: the next one, or one that waits, is answered, and nothing is fetched", async () => {
  site.prelude = NO_ROOM_FOR_LONG;
  assert.equal((await load(page, url())).error, undefined);
  server.requests = [];
  for (const wait of [false, true]) assertFailsAlone(await askLong(wait));
  assert.deepEqual(server.requests, []);
});

test("so it is in the page's own thread, where the memory is given back at once and no error is left uncaught", async () => {
  await page.evaluate(noRoom("() => globalThis.long"));
  const uncaught = [];
  page.on("pageerror", (error) => uncaught.push(error.message));
  const loaded = await page.evaluate(async (url) => {
    const { requestDevice } = GPUAdapter.prototype;
    globalThis.lost = [];
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await requestDevice.apply(this, options);
      void device.lost.then(({ reason }) => globalThis.lost.push(reason));
      return device;
    };
    const engine = await import("/dist/llava-web/engine.js");
    return globalThis.attempt(async () => {
      globalThis.model = await globalThis.llava.load(url, { engine, onWarning: () => (globalThis.long = false) });
      const { run } = globalThis.model;
      globalThis.model.run = function (input) {
        globalThis.long = input.prompt.length > 500;
        return run.call(this, input);
      };
    });
  }, url());
  assert.equal(loaded.error, undefined, loaded.error?.message);
  assertFailsAlone(await askLong(false));
  assert.deepEqual(await page.evaluate(() => globalThis.lost), ["destroyed"]);
  assert.deepEqual(uncaught, []);
});

/** Read-backs take this long, so that there is a middle of an answer in which to lose the GPU. */
const SLOW = `
  const { mapAsync } = GPUBuffer.prototype;
  GPUBuffer.prototype.mapAsync = async function (...options) {
    await mapAsync.apply(this, options);
    await new Promise((resolve) => setTimeout(resolve, 250));
  };`;

/** A picture, a question, and how the answer is drawn; `at`: tokens after each of which the GPU is lost. */
async function ask(input, at = []) {
  return page.evaluate(
    async ({ input, at }) => {
      const canvas = new OffscreenCanvas(160, 120);
      const context = canvas.getContext("2d");
      context.fillStyle = "#ddd";
      context.fillRect(0, 0, 160, 120);
      context.fillStyle = "#e02020";
      context.arc(40, 60, 25, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = "#2020e0";
      context.fillRect(95, 35, 50, 50);
      const pieces = [];
      const onToken = (piece, tokens) => {
        pieces.push(piece);
        if (tokens >= at[0]) globalThis.crashGpu(at.shift());
      };
      const outcome = await globalThis.attempt(() => globalThis.model.run({ image: canvas, ...input }, { onToken }));
      return { ...outcome, pieces, left: at.length, warnings: globalThis.warnings.splice(0) };
    },
    { input, at },
  );
}

async function loadSlow() {
  site.prelude = SLOW;
  await page.exposeFunction("crashGpu", () => crashGpu(browser, page));
  const { error } = await page.evaluate((url) => {
    globalThis.warnings = [];
    const onWarning = ({ message }) => globalThis.warnings.push(message);
    return globalThis.attempt(async () => void (globalThis.model = await globalThis.llava.load(url, { onWarning })));
  }, url());
  assert.equal(error, undefined);
  server.requests = [];
}

/** The answer to `input`, lost after each of the tokens `at`, is the undisturbed one, and each of its pieces was told once. */
async function assertSame(input, undisturbed, at) {
  const losses = at.length;
  const { error, value, pieces, warnings } = await ask(input, at);
  assert.equal(error, undefined, error?.message);
  assert.equal(warnings.length, losses, `the GPU must have been lost in mid-answer:\n${warnings.join("\n")}`);
  assert.deepEqual(value.token_ids, undisturbed.value.token_ids);
  assert.equal(value.description, undisturbed.value.description);
  assert.equal(pieces.join(""), undisturbed.pieces.join(""));
  assert.equal(value.usage.completion_tokens, value.token_ids.length);
}

const QUESTION = { prompt: "What is in this picture?" };
const DRAWN = { ...QUESTION, temperature: 5, seed: 7, max_tokens: 40 };

test("it crashes in mid-answer, once and twice: greedy and drawn answers are those that would have come, and nothing is fetched", async () => {
  await loadSlow();
  const [greedy, drawn] = [await ask(QUESTION), await ask(DRAWN)];
  assert.ok(greedy.value.token_ids.length > 6, greedy.value.description);
  assert.equal(drawn.value.seed, 7);
  await assertSame(QUESTION, greedy, [1]);
  await assertSame(DRAWN, drawn, [3, 13]);
  // Nobody gave this seed; it is the same all the same.
  const { seed: _, ...unseeded } = DRAWN;
  const lost = await ask(unseeded, [3]);
  assert.equal(lost.error, undefined, lost.error?.message);
  assert.equal(lost.warnings.length, 1);
  const again = await ask({ ...unseeded, seed: lost.value.seed });
  assert.deepEqual(again.value.token_ids, lost.value.token_ids);
  assert.equal(lost.pieces.join(""), again.pieces.join(""));
  assert.deepEqual(server.requests, []);
});

test("it crashes three times in one answer: gpu, and the next question is answered", async () => {
  await loadSlow();
  const { error, left } = await ask(DRAWN, [2, 9, 16]);
  assert.equal(left, 0);
  assert.equal(error?.code, "gpu");
  assert.match(error.message, /lost 3 times/);
  const { value } = await ask(QUESTION);
  assert.match(value.description, /circle/);
  assert.deepEqual(server.requests, []);
});

test("it crashes in mid-answer of engines in the page's own thread: each gets a new one there", async () => {
  await page.exposeFunction("crashGpu", () => crashGpu(browser, page));
  await page.evaluate(SLOW);
  const { error } = await page.evaluate(async (url) => {
    const engine = await import("/dist/llava-web/engine.js");
    globalThis.warnings = [];
    const onWarning = ({ message }) => globalThis.warnings.push(message);
    const loads = [globalThis.llava.load(url, { engine, onWarning }), globalThis.llava.load(url, { engine })];
    return globalThis.attempt(async () => void ([globalThis.model, globalThis.second] = await Promise.all(loads)));
  }, url());
  assert.equal(error, undefined, error?.message);
  assert.equal(page.workers().length, 0);
  const drawn = await ask(DRAWN);
  const second = page.evaluate((input) => globalThis.second.run({ image: new ImageData(64, 64), ...input, max_tokens: 200 }), DRAWN);
  await assertSame(DRAWN, drawn, [3, 13]);
  assert.notEqual((await second).description, "");
  assert.equal(page.workers().length, 0);
});
