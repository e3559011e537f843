// What a model runs on: the GPU where there is a real one, else the CPU, whose engine is a file of its own that only those fetch who need it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PACKAGE } from "../../www/scripts/serve.mjs";
import { AS_GPU, crashGpu, drawRedCircle, load, makeBundle, openBrowser, serveBundles, servePackage } from "./support.mjs";

const NO_LINEAR = `
  const { createShaderModule } = GPUDevice.prototype;
  GPUDevice.prototype.createShaderModule = function ({ code, ...more }) {
    const broken = /^\\/\\/ linear_/.test(code) ? code + "fn other() { nothing(); }" : code;
    return createShaderModule.call(this, { code: broken, ...more });
  };`;

const ENGINES = { gpu: "/dist/llava-web/engine.wasm", cpu: "/dist/llava-web/engine-cpu.wasm" };

let browser, plain, site;
before(async () => {
  [browser, plain] = await Promise.all([openBrowser(), openBrowser({ gpu: "plain" })]);
  site = await servePackage();
});
after(async () => {
  await Promise.all([browser.close(), plain.close()]);
  await site.close();
});

/** An empty page of `from`, whose workers begin with `prelude`, and which engines are fetched from now on. */
async function open(from, prelude = "") {
  site.prelude = prelude;
  site.requests = [];
  const page = await from.open(site);
  const engines = () => Object.keys(ENGINES).filter((kind) => site.requests.includes(ENGINES[kind]));
  return { page, engines };
}

async function answer(page) {
  await page.evaluate(drawRedCircle);
  return page.evaluate(() => globalThis.model.caption(globalThis.drawing, "What is in this picture?"));
}

/** Where the browser runs, what its workers begin with, what is asked for; the device, and why `auto` is not the GPU. */
const CHOSEN = {
  "a browser started without a flag": [() => plain, "", undefined, "cpu", /^The only GPU|no WebGPU|no GPU/],
  "a browser whose only GPU is software": [() => browser, "", "auto", "cpu", /^The only GPU here, .*swiftshader.*, is software\. The model runs on the CPU\.$/i],
  "a browser with a real GPU": [() => browser, AS_GPU, undefined, "gpu"],
  "a software GPU that is asked for": [() => browser, "", "gpu", "gpu"],
  "the CPU that is asked for": [() => browser, AS_GPU, "cpu", "cpu"],
};
for (const [what, [from, prelude, device, expected, why]] of Object.entries(CHOSEN)) {
  test(`${what}: the ${expected}, and only its engine is fetched`, async () => {
    const { page, engines } = await open(from(), prelude);
    const { value, error, warnings } = await load(page, undefined, device && { device });
    assert.equal(error, undefined, error?.message);
    assert.equal(value.device, expected);
    assert.deepEqual(engines(), [expected]);
    const told = warnings.filter(({ code }) => code === "webgpu_unavailable");
    assert.equal(told.length, why ? 1 : 0, JSON.stringify(warnings));
    if (why) assert.match(told[0].message, why);
    assert.match(await answer(page), /red circle/);
    await page.close();
  });
}

test("availability tells the device, and that nothing is wrong with it", async () => {
  const { page } = await open(plain);
  const [auto, gpu, configured] = await page.evaluate(async () => {
    const { availability, configure } = globalThis.llava;
    const plans = [await availability(), await availability(undefined, { device: "gpu" })];
    configure({ device: "gpu" });
    return [...plans, await availability()].map(({ device, adapter, available, problems }) => ({ device, adapter, available, codes: problems.map(({ code }) => code) }));
  });
  assert.deepEqual(auto, { device: "cpu", adapter: "CPU", available: true, codes: [] });
  for (const plan of [gpu, configured]) assert.deepEqual([plan.available, plan.codes], [false, ["webgpu_unavailable"]]);
  await page.close();
});

test("availability plans for the CPU where a weight fits no buffer of the GPU, as load would do", async () => {
  const { page } = await open(browser);
  await page.evaluate(AS_GPU);
  const { max_binding_bytes } = await page.evaluate(async () => (await globalThis.llava.availability(undefined, { device: "gpu" })).limits);
  const memory = {
    largest_weight: { name: "language_model.model.embed_tokens.weight", bytes: max_binding_bytes + 16 },
    layers: 1, keys: 64, head_dim: 64, picture_bytes: 1000, position_bytes: 1000, image_tokens: 4, trained_positions: 4096,
  };
  const server = await serveBundles({ m: makeBundle({ memory }) });
  try {
    const plans = await page.evaluate(async (url) => {
      const plans = ["auto", "gpu", "cpu"].map((device) => globalThis.llava.availability(url, { device }));
      return (await Promise.all(plans)).map(({ device, available, problems }) => [device, available, problems.map(({ code }) => code)]);
    }, `${server.origin}/m/`);
    assert.deepEqual(plans, [["cpu", true, []], ["gpu", false, ["gpu"]], ["cpu", true, []]]);
  } finally {
    await server.close();
  }
  await page.close();
});

test("a GPU that computes nothing right: the model is loaded on the CPU, with a warning; where the GPU was asked for that is an error", async () => {
  const { page, engines } = await open(browser, AS_GPU + NO_LINEAR);
  const { value, error, warnings } = await load(page);
  assert.equal(error, undefined, error?.message);
  assert.equal(value.device, "cpu");
  assert.deepEqual(engines(), ["gpu", "cpu"]);
  assert.match(warnings.find(({ code }) => code === "gpu").message, /The model is loaded on the CPU\.$/);
  assert.match(await answer(page), /red circle/);
  assert.equal((await load(page, undefined, { device: "gpu" })).error.code, "gpu");
  await page.close();
});

test("a GPU on which the engine dies: the model is loaded on the CPU", async () => {
  const { page } = await open(browser, `${AS_GPU} GPUDevice.prototype.createShaderModule = () => { throw new Error("no shaders today"); };`);
  const { value, error, warnings } = await load(page);
  assert.equal(error, undefined, error?.message);
  assert.equal(value.device, "cpu");
  assert.match(warnings.at(-1).message, /The model is loaded on the CPU\.$/);
  assert.match(await answer(page), /red circle/);
  await page.close();
});

test("a GPU that the browser gives no more after it was lost: the model goes on on the CPU", async () => {
  // Without flags for it Chromium does so after a few crashes.
  const worn = await openBrowser();
  try {
    const { page } = await open(worn, AS_GPU);
    assert.equal((await load(page)).error, undefined);
    const told = await page.evaluate(() => globalThis.model.info.device);
    assert.equal(told, "gpu");
    site.prelude = "GPU.prototype.requestAdapter = async () => null;";
    await crashGpu(worn, page);
    await page.waitForTimeout(500);
    assert.match(await answer(page), /red circle/);
    assert.equal(await page.evaluate(() => globalThis.model.info.device), "cpu");
    await page.close();
  } finally {
    await worn.close();
  }
});

test("what is wrong with the engine's file is told, with what to do", async () => {
  const whole = await readFile(join(PACKAGE, "dist/llava-web/engine-cpu.wasm"));
  const send = (bytes, type = "application/wasm") => (response) => response.writeHead(200, { "content-type": type }).end(bytes);
  const cases = {
    missing: [(response) => response.writeHead(404).end(), /no such file.*wasm/],
    "a web page": [send("<!doctype html>", "text/html"), /sent a web page.*wasm/],
    "cut off": [send(whole.subarray(0, whole.length / 2)), /engine-cpu\.wasm is not the engine of this build.*copy dist\/llava-web\//],
    empty: [send(""), /is not the engine of this build/],
    "the other engine": [send(await readFile(join(PACKAGE, "dist/llava-web/engine.wasm"))), /is not the engine of this build/],
  };
  for (const [what, [answer, message]] of Object.entries(cases)) {
    site.overrides[ENGINES.cpu] = answer;
    const fresh = await openBrowser({ gpu: "plain" });
    try {
      const { page } = await open(fresh);
      const { error } = await load(page);
      assert.equal(error?.code, "engine_failed", what);
      assert.match(error.message, message, what);
    } finally {
      delete site.overrides[ENGINES.cpu];
      await fresh.close();
    }
  }
});

test("a browser without WebAssembly, or without its vectors, is told so, in a worker and without one", async () => {
  for (const [prelude, message] of [
    ["delete globalThis.WebAssembly;", /switched off here, as in the Lockdown Mode/],
    ["WebAssembly.validate = () => false;", /no SIMD: update it/],
  ]) {
    const { page } = await open(plain, prelude);
    assert.match((await load(page)).error.message, message);
    await page.evaluate(prelude);
    await page.evaluate(() => delete globalThis.Worker);
    assert.match((await load(page)).error.message, message);
    await page.close();
  }
});

test("where there is no GPU, one that is asked for is an error, and nothing is fetched", async () => {
  const { page, engines } = await open(plain);
  const { error } = await load(page, undefined, { device: "gpu" });
  assert.equal(error.code, "webgpu_unavailable");
  assert.deepEqual(engines(), []);
  const wrong = await page.evaluate(async () => {
    const { caption, configure, createAI, load } = globalThis.llava;
    const picture = new Uint8Array(4);
    const calls = [
      () => load(undefined, { device: "npu" }),
      () => caption(picture, "?", { device: "npu" }),
      async () => configure({ device: "npu" }),
      () => createAI({ m: "/m/" }).run("m", { image: picture }, { device: "npu" }),
    ];
    return Promise.all(calls.map(async (call) => (await globalThis.attempt(call)).error));
  });
  for (const { code, message } of wrong) {
    assert.equal(code, "invalid_input");
    assert.match(message, /^`device` must be "auto" or "gpu" or "cpu"/);
  }
  await page.close();
});

describe("on the CPU", () => {
  test("the same tokens as on the GPU", async () => {
    const tokens = {};
    for (const device of ["gpu", "cpu"]) {
      const { page } = await open(browser);
      assert.equal((await load(page, undefined, { device })).error, undefined);
      await page.evaluate(drawRedCircle);
      tokens[device] = await page.evaluate(async () => {
        const prompts = ["What is in this picture?", "What colour is the circle?", "How many things are there?"];
        const answers = [];
        for (const prompt of prompts) answers.push((await globalThis.model.run({ image: globalThis.bytes, prompt, temperature: 0 })).token_ids);
        return answers;
      });
      await page.close();
    }
    assert.deepEqual(tokens.cpu, tokens.gpu);
  });

  test("an answer comes piece by piece, is stopped at once, and the next one is whole", async () => {
    const { page } = await open(plain);
    assert.equal((await load(page)).error, undefined);
    await page.evaluate(drawRedCircle);
    const { pieces, stopped, ms, again } = await page.evaluate(async () => {
      const { model, bytes } = globalThis;
      const pieces = [];
      const long = { image: bytes, prompt: "What is in this picture?", temperature: 2, max_tokens: 200, seed: 3 };
      const stop = new AbortController();
      let since;
      const onToken = (piece) => {
        pieces.push(piece);
        if (pieces.length === 2) {
          since = performance.now();
          stop.abort();
        }
      };
      const stopped = await globalThis.attempt(() => model.run(long, { signal: stop.signal, onToken }));
      const ms = performance.now() - since;
      return { pieces, stopped, ms, again: await model.caption(bytes, "What is in this picture?") };
    });
    assert.equal(stopped.error?.code, "aborted", JSON.stringify(pieces));
    assert.equal(pieces.length, 2);
    assert.ok(ms < 500, `${ms} ms`);
    assert.match(again, /red circle/);
    await page.close();
  });

  test("a request for which there is no memory left fails alone", async () => {
    const small = await openBrowser({ gpu: "plain", args: ["--js-flags=--wasm-max-mem-pages=1200"] });
    try {
      const { page } = await open(small);
      assert.equal((await load(page)).error, undefined);
      const { error } = await page.evaluate(() => globalThis.attempt(() => globalThis.model.run({ image: new ImageData(4000, 4000), prompt: "What is this?" })));
      assert.equal(error?.code, "low_memory", error?.message);
      assert.match(error.message, /out of memory.*smaller picture/);
      assert.match(await answer(page), /red circle/);
      await page.close();
    } finally {
      await small.close();
    }
  });

  test("a model that no wasm can address is refused before its weights are fetched, with the size that would fit", async () => {
    const memory = {
      largest_weight: { name: "language_model.model.layers.0.self_attn.qkv_proj.weight", bytes: 100_000 },
      layers: 1000, keys: 4096, head_dim: 64, picture_bytes: 1000, position_bytes: 1000, image_tokens: 4, trained_positions: 4096,
    };
    const server = await serveBundles({ m: makeBundle({ memory }) });
    try {
      const { page } = await open(plain);
      const { error } = await load(page, `${server.origin}/m/`);
      assert.equal(error.code, "model_too_large");
      assert.match(error.message, /takes \d+ MB of memory, and WebAssembly on the CPU can address 4027 MB: .* of weights fit/);
      assert.deepEqual(server.takeChunks(), []);
      const plan = await page.evaluate(async (url) => {
        const { available, problems } = await globalThis.llava.availability(url);
        return [available, problems.map(({ code }) => code)];
      }, `${server.origin}/m/`);
      assert.deepEqual(plan, [false, ["model_too_large"]]);
      await page.close();
    } finally {
      await server.close();
    }
  });
});
