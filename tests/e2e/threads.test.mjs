// The CPU's engine has a thread for each core in pages that are cross-origin isolated, and one in any other; the answers are the same.
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { after, before, test } from "node:test";
import { drawRedCircle, load, openBrowser, servePackage } from "./support.mjs";

const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const CORES = Math.min(availableParallelism(), 8);
const PROMPTS = ["What is in this picture?", "What colour is the circle?", "How many things are there?"];

let browser, site;
before(async () => {
  browser = await openBrowser({ gpu: "plain" });
  site = await servePackage();
});
after(async () => {
  await browser.close();
  await site.close();
});

/** Loads the default model on a page with these headers that has run `script`, and whose worker begins with `prelude`; what it says and answers. */
async function visit({ headers = ISOLATED, prelude = "", script = "", prompts = PROMPTS, precision } = {}) {
  Object.assign(site, { headers, prelude });
  const page = await browser.open(site);
  try {
    await page.evaluate(script);
    const { value, error } = await load(page, undefined, { device: "cpu", precision });
    assert.equal(error, undefined, error?.message);
    await page.evaluate(drawRedCircle);
    const ask = async (prompts) => {
      const answers = [];
      for (const prompt of prompts) {
        const asked = await globalThis.attempt(() => globalThis.model.run({ image: globalThis.bytes, prompt }));
        answers.push(asked.error ?? { description: asked.value.description, token_ids: asked.value.token_ids });
      }
      return answers;
    };
    return { threads: value.threads, isolated: await page.evaluate(() => globalThis.crossOriginIsolated), answers: await page.evaluate(ask, prompts) };
  } finally {
    await page.close();
    Object.assign(site, { headers: {}, prelude: "" });
  }
}

test("an isolated page has a thread for each core, any other one, and both give the same tokens", async () => {
  const [one, all] = [await visit({ headers: {} }), await visit()];
  assert.deepEqual([one.isolated, one.threads], [false, 1]);
  assert.deepEqual([all.isolated, all.threads], [true, CORES]);
  assert.match(one.answers[0].description, /red circle/);
  assert.deepEqual(all.answers, one.answers);
});

test("eight threads at most, and more than there are cores give the same tokens", async () => {
  const many = await visit({ prelude: 'Object.defineProperty(navigator, "hardwareConcurrency", { value: 32 });' });
  assert.equal(many.threads, 8);
  assert.deepEqual(many.answers, (await visit({ headers: {} })).answers);
});

test("with less precision, too, both give the same tokens", async () => {
  const [one, all] = [await visit({ headers: {}, precision: "fast" }), await visit({ precision: "fast" })];
  assert.deepEqual(all.answers, one.answers);
  assert.match(one.answers[0].description, /red circle/);
});

/** What takes threads away: a page's policy, a browser. */
const WITHOUT = {
  "a policy that allows no worker of a blob": { headers: { ...ISOLATED, "content-security-policy": "script-src 'self' 'wasm-unsafe-eval' 'unsafe-inline'; worker-src 'self'" } },
  "a thread whose script does not run": { script: 'URL.createObjectURL = () => "blob:null/nothing";' },
  "a thread that never answers": { script: 'URL.createObjectURL = () => "data:text/javascript,";' },
  "memory that cannot be sent to the page": { prelude: 'const { postMessage } = self; self.postMessage = (reply) => { if (reply.type === "help") throw new DOMException("no", "DataCloneError"); postMessage(reply); };' },
  "memory that cannot be sent on": { script: 'const { postMessage } = Worker.prototype; Worker.prototype.postMessage = function (data) { if (data.memory) throw new DOMException("no", "DataCloneError"); postMessage.call(this, data); };' },
};
for (const [what, given] of Object.entries(WITHOUT)) {
  test(`${what} leaves one thread, without an error`, async () => {
    const { threads, answers } = await visit(given);
    assert.equal(threads, 1);
    assert.match(answers[0].description, /red circle/);
  });
}

test("a phone that keeps no 4 GiB of addresses free gets an engine with fewer", async () => {
  const prelude = `
    const { Memory } = WebAssembly;
    WebAssembly.Memory = function (limits) {
      if (limits.maximum > 16384) throw new RangeError("no addresses");
      return new Memory(limits);
    };`;
  const { threads, answers } = await visit({ prelude });
  assert.equal(threads, CORES);
  assert.match(answers[0].description, /red circle/);
});

test("a thread that crashes ends the engine, and nothing waits for it", async () => {
  // Of two helpers the second says, as a crashed one does, that it is lost.
  const prelude = 'Object.defineProperty(navigator, "hardwareConcurrency", { value: 3 });';
  const script = `
    const { Blob: RealBlob } = self;
    let made = 0;
    const { createObjectURL } = URL;
    const texts = [];
    self.Blob = class extends RealBlob { constructor(parts, options) { super(parts, options); texts.push(parts[0]); } };
    const { Worker: RealWorker } = self;
    self.Worker = class extends RealWorker {
      constructor(url, options) {
        const lost = texts.at(-1)?.replace(/([a-z]+)\\.help\\(\\)/, "$1.helper_lost()");
        super(made++ === 2 ? createObjectURL(new RealBlob([lost])) : url, options);
      }
    };`;
  const { threads, answers } = await visit({ prelude, script, prompts: PROMPTS.slice(0, 1) }).catch((error) => ({ answers: [error] }));
  assert.ok(threads === undefined || threads === 3);
  assert.match(answers[0].message, /engine crashed/i);
});

test("the demo, which has a policy, has them too", async () => {
  Object.assign(site, { headers: ISOLATED });
  const page = await browser.open(site, "/demo/");
  try {
    await page.locator("#samples button").first().click();
    await page.locator("#status", { hasText: "tokens/s" }).filter({ hasNotText: "so far" }).waitFor({ timeout: 120_000 });
    assert.equal(page.workers().length, CORES);
  } finally {
    await page.close();
    Object.assign(site, { headers: {} });
  }
});

test("the threads of a model end with it", async () => {
  Object.assign(site, { headers: ISOLATED });
  const page = await browser.open(site);
  try {
    const workers = () => page.workers().length;
    const { value } = await load(page, undefined, { device: "cpu" });
    assert.deepEqual([value.threads, workers()], [CORES, CORES]);
    await page.evaluate(() => globalThis.model.dispose());
    const end = Date.now() + 5000;
    while (workers() > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(workers(), 0);
  } finally {
    await page.close();
    Object.assign(site, { headers: {} });
  }
});
