// What is told and refused before the first byte of weights: availability(), the context's size, the promise to keep
// what is stored.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eachWithFreshPage, load, makeBundle } from "./support.mjs";

let browser, site, server, page;

/** A model with a decoder of 2 layers, 4 key-value heads of 64: a position's keys take 512 bytes in f16, 1 KiB in f32. */
const memory = {
  largest_weight: { name: "language_model.model.layers.0.self_attn.qkv_proj.weight", bytes: 120_000 },
  layers: 2,
  keys: 256,
  head_dim: 64,
  trained_positions: 3000,
  image_tokens: 4,
  picture_bytes: 70_000,
  position_bytes: 100,
};
const bundle = makeBundle({ memory });
const weights = bundle.manifest.chunks.reduce((sum, { bytes }) => sum + bytes, 0);

eachWithFreshPage(bundle, (fresh) => ({ browser, site, server, page } = fresh));
const url = () => `${server.origin}/m/`;

/** availability(), its problems as `{ code, message }`. */
function ask(options) {
  return page.evaluate(
    async ({ url, options }) => {
      const { problems, ...rest } = await globalThis.llava.availability(url, options);
      return { problems: problems.map(({ code, message }) => ({ code, message })), ...rest };
    },
    { url: url(), options },
  );
}

/** Script that makes the GPU's limits smaller, for the page and for workers. */
const limited = (binding) => `
  Object.defineProperty(GPUSupportedLimits.prototype, "maxStorageBufferBindingSize", { get: () => ${binding} });`;

test("the plan: bytes to fetch and stored, quota, limits, memory", async () => {
  const plan = await ask();
  assert.deepEqual([plan.available, plan.problems, plan.name, plan.quantization], [true, [], "fake", "q8"]);
  assert.deepEqual([plan.total_bytes, plan.stored_bytes, plan.bytes_to_download], [bundle.total_bytes, 0, bundle.total_bytes]);
  assert.ok(plan.quota > plan.usage && plan.free_quota === plan.quota - plan.usage);
  assert.ok(plan.limits.max_buffer_bytes >= 2 ** 28 && plan.limits.max_binding_bytes >= 2 ** 27);
  assert.deepEqual(plan.largest_weight, memory.largest_weight);
  assert.deepEqual([plan.context_length, plan.max_context_length], [2048, 3000]);
  const context = 2 * 2 * 2048 * 512;
  const work = 4 * 1024 * 100 + 2048 * 64 * 4;
  assert.deepEqual(plan.memory, { weights, context, work, total: weights + context + work });
  const short = (await ask({ context_length: 500, kv_cache: "f32" })).memory;
  assert.deepEqual([short.context, short.work], [2 * 2 * 500 * 1024, 4 * 70_000 + 500 * 64 * 4]);
  assert.deepEqual(server.requests.filter((path) => path !== "m/manifest.json"), [], "nothing but manifests is asked for");
});

test("what is stored, in part, whole, and when there is a newer version", async () => {
  server.fault = (path) => path.endsWith(bundle.chunkPaths[3]); // which never answers
  const broken = load(page, url()).catch(() => undefined);
  while (!server.requests.some((path) => path.endsWith(bundle.chunkPaths[3]))) await new Promise((resolve) => setTimeout(resolve, 10));
  await page.close();
  await broken;
  page = await browser.open(site);
  const part = await ask();
  assert.ok(part.stored_bytes > 0 && part.stored_bytes + part.bytes_to_download === bundle.total_bytes, JSON.stringify(part));
  server.fault = () => false;
  await load(page, url());
  const whole = await ask();
  assert.deepEqual([whole.stored_bytes, whole.bytes_to_download, whole.update], [bundle.total_bytes, 0, false]);
  server.bundles.m = makeBundle({ name: "newer", seeds: [1, 2, 30, 4, 5, 6] });
  const newer = await ask();
  const tokenizer = server.bundles.m.manifest.tokenizer.bytes;
  assert.deepEqual([newer.update, newer.bytes_to_download], [true, 65536 + tokenizer]);
});

test("too small a quota: how much is missing, and that the model would run", async () => {
  // Chromium tells every page the same quota, whatever the site really has.
  await page.evaluate(() => {
    navigator.storage.estimate = async () => ({ quota: 300_000, usage: 100_000 });
  });
  const plan = await ask();
  assert.equal(plan.free_quota, 200_000);
  assert.equal(plan.available, true);
  assert.deepEqual(plan.problems.map(({ code }) => code), ["quota_exceeded"]);
  const missing = ((bundle.total_bytes - 200_000) / 1e6).toFixed(1);
  assert.ok(plan.problems[0].message.includes(`${missing} MB are missing`), plan.problems[0].message);
});

test("no GPU, no manifest: problems, not exceptions; an option that makes no sense is one", async () => {
  await page.evaluate(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
  server.fault = (_, __, response) => (response.writeHead(404).end(), true);
  const plan = await ask();
  assert.deepEqual([plan.available, plan.problems.map(({ code }) => code)], [false, ["webgpu_unavailable", "no_such_model"]]);
  assert.deepEqual([plan.memory, plan.limits, plan.bytes_to_download], [undefined, undefined, undefined]);
  await assert.rejects(ask({ context_length: 0 }), /`context_length` must be a whole number/);
});

test("a weight that the GPU cannot bind is a problem with a cure", async () => {
  await page.evaluate(limited(110_000));
  const { available, problems } = await ask({ context_length: 100 });
  assert.deepEqual([available, problems.map(({ code }) => code)], [false, ["gpu"]]);
  assert.match(problems[0].message, /qkv_proj.* convert this one with fewer bits/);
});

test("so is an intermediate result, of a picture or of as many positions as run at once", async () => {
  await page.evaluate(limited(132_000));
  assert.deepEqual((await ask({ context_length: 100, kv_cache: "f32" })).problems, []);
  server.bundles.m = makeBundle({ memory: { ...memory, picture_bytes: 133_000 } });
  const plan = await ask({ context_length: 100 });
  assert.deepEqual([plan.available, plan.problems.map(({ code }) => code)], [false, ["gpu"]]);
  assert.match(plan.problems[0].message, /intermediate result.* another GPU/);
  server.bundles.m = makeBundle({ memory: { ...memory, position_bytes: 600 } });
  assert.deepEqual((await ask({ context_length: 250, kv_cache: "f16" })).problems.map(({ code }) => code), ["gpu"]);
  assert.deepEqual((await ask({ context_length: 200, kv_cache: "f16" })).problems, []);
});

test("a manifest that does not tell what memory a model needs loads, and nothing is said beforehand", async () => {
  server.bundles.m = makeBundle();
  const plan = await ask({ context_length: 100_000 });
  assert.deepEqual([plan.available, plan.problems, plan.bytes_to_download], [true, [], server.bundles.m.total_bytes]);
  assert.deepEqual([plan.largest_weight, plan.memory, plan.max_context_length], [undefined, undefined, undefined]);
  assert.equal(plan.context_length, 100_000);
  const { value, error } = await load(page, url(), { context_length: 100_000 });
  assert.deepEqual([error, value?.context_length, value?.kv_cache], [undefined, 100_000, "the engine's choice"]);
});

test("keys and values are f16 where that fits the heads; where it does not, it is refused before any download", async () => {
  const f16 = await load(page, url());
  assert.deepEqual([f16.error, f16.value?.kv_cache], [undefined, "f16"]);
  assert.equal((await load(page, url(), { kv_cache: "f32" })).value?.kv_cache, "f32");
  server.bundles.odd = makeBundle({ name: "odd", seeds: [7], memory: { ...memory, head_dim: 12, keys: 48 } });
  const odd = `${server.origin}/odd/`;
  server.requests.length = 0;
  const refused = await load(page, odd, { kv_cache: "f16" });
  assert.equal(refused.error?.code, "invalid_input");
  assert.match(refused.error.message, /`kv_cache`: .*multiple of 8.* are 12\..*"f32"/);
  assert.deepEqual(server.requests, ["odd/manifest.json"]);
  const plan = await page.evaluate(async (url) => {
    const { available, problems } = await globalThis.llava.availability(url, { kv_cache: "f16" });
    return { available, problems: problems.map(({ code, message }) => ({ code, message })) };
  }, odd);
  assert.deepEqual(plan, { available: false, problems: [{ code: "invalid_input", message: refused.error.message }] });
  const f32 = await load(page, odd);
  assert.deepEqual([f32.error, f32.value?.kv_cache], [undefined, "f32"]);
  await page.evaluate(limited(4 * 48 * 100));
  const long = await page.evaluate(async (url) => (await globalThis.llava.availability(url, { context_length: 101 })).problems.map(({ message }) => message), odd);
  assert.ok(long.some((message) => message.endsWith("Ask for 100 at most.")), `f16 is no cure: ${long}`);
});

test("what is odd in what the manifest tells is refused with the field's name", async () => {
  const weight = memory.largest_weight;
  for (const [odd, field] of [
    [[], "memory.largest_weight.name"],
    ["much", "memory.largest_weight.name"],
    [{ ...memory, largest_weight: { ...weight, name: 7 } }, "memory.largest_weight.name"],
    [{ ...memory, largest_weight: { ...weight, bytes: 0 } }, "memory.largest_weight.bytes"],
    [{ ...memory, layers: 0 }, "memory.layers"],
    [{ ...memory, keys: "256" }, "memory.keys"],
    [{ ...memory, head_dim: 2 ** 60 }, "memory.head_dim"],
    [{ ...memory, trained_positions: undefined }, "memory.trained_positions"],
    [{ ...memory, image_tokens: -1 }, "memory.image_tokens"],
    [{ ...memory, picture_bytes: 1.5 }, "memory.picture_bytes"],
    [{ ...memory, position_bytes: null }, "memory.position_bytes"],
  ]) {
    server.bundles.m = makeBundle({ memory: odd });
    const { problems } = await ask();
    assert.deepEqual(problems.map(({ code }) => code), ["bad_bundle"], field);
    assert.ok(problems[0].message.includes(`\`${field}\``), problems[0].message);
    assert.equal((await load(page, url())).error?.code, "bad_bundle");
  }
});

test("a context that no picture fits in is refused before any download, with the smallest that one does", async () => {
  const [problem] = (await ask({ context_length: 4 })).problems;
  assert.match(problem.message, /4 does not fit: a picture or prompt alone takes 4 position\(s\)\. Ask for 5 at least\./);
  const { error } = await load(page, url(), { context_length: 4 });
  assert.deepEqual([error?.code, error?.message], ["invalid_input", problem.message]);
  assert.deepEqual(server.takeChunks(), []);
});

for (const [what, prelude, options, message] of [
  ["than the model was trained for", "", { context_length: 3001 }, /3001 does not fit: the model was trained for 3000 positions\. Ask for 3000 at most\.$/],
  ["than the GPU can bind", limited(1024 * 1000), { context_length: 1001, kv_cache: "f32" }, /1001 does not fit: .* this GPU binds 1\.0 MB.* Ask for 1000 at most, or more with kv_cache: "f16"\.$/],
]) {
  test(`a context longer ${what} is refused before any download, with the largest that fits`, async () => {
    site.prelude = prelude;
    if (prelude) await page.evaluate(prelude);
    const plan = await ask(options);
    const [problem] = plan.problems.filter(({ code }) => code === "invalid_input");
    assert.equal(plan.available, false);
    assert.match(problem.message, message);
    assert.equal(plan.max_context_length, options.context_length - 1);
    server.requests.length = 0;
    const { error } = await load(page, url(), options);
    assert.deepEqual([error?.code, error?.message], ["invalid_input", problem.message]);
    assert.deepEqual(server.requests, ["m/manifest.json"]);
    const fits = await load(page, url(), { ...options, context_length: plan.max_context_length });
    assert.equal(fits.error, undefined);
    assert.equal(fits.value.context_length, plan.max_context_length);
  });
}

test("the browser is asked once to keep what is stored; its refusal is reported and no error", async () => {
  for (const answer of [true, false]) {
    await page.close();
    page = await browser.open(site);
    await page.evaluate((answer) => {
      globalThis.asked = 0;
      navigator.storage.persisted = async () => false;
      navigator.storage.persist = async () => (globalThis.asked++, answer);
    }, answer);
    for (let time = 0; time < 2; time++) {
      const { error, value } = await load(page, url());
      assert.equal(error, undefined);
      assert.equal(value.persisted, answer);
    }
    assert.equal(await page.evaluate(() => globalThis.asked), 1);
  }
});

test("a visitor who has not answered holds up nothing", async () => {
  await page.evaluate(() => {
    navigator.storage.persisted = async () => false;
    navigator.storage.persist = () => new Promise(() => undefined);
  });
  const { error, value } = await load(page, url());
  assert.equal(error, undefined);
  assert.equal(value.persisted, undefined);
});
