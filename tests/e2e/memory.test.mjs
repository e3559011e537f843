// The memory that a model takes: page and engine tell the same, and the page warns where the device is known to have less.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eachWithFreshPage, load, makeBundle, readBundle, ROOT } from "./support.mjs";

describe("what is told before the download is what the engine tells", async () => {
  const bundle = await readBundle(`${ROOT}models/llava-sketches`);
  let server, page;
  eachWithFreshPage(bundle, (fresh) => ({ server, page } = fresh), { fake: false });

  /** The formats and lengths: by default, and where a picture is the largest of what lies between. */
  for (const [options, kv_cache] of [[{}, "f16"], [{ kv_cache: "f32", context_length: 70 }, "f32"]]) {
    test(JSON.stringify(options), async () => {
      const url = `${server.origin}/m/`;
      const plan = await page.evaluate(([url, options]) => globalThis.llava.availability(url, options), [url, options]);
      const { value, error } = await load(page, url, options);
      assert.equal(error, undefined, error?.message);
      assert.equal(value.kv_cache, kv_cache);
      assert.deepEqual(value.memory, plan.memory);
      assert.deepEqual(Object.keys(plan.memory).sort(), ["context", "total", "weights", "work"]);
    });
  }

  test("of a bundle that an older converter made, the engine chooses and tells", async () => {
    const { memory: _, ...manifest } = bundle.manifest;
    server.bundles.m = { ...bundle, files: new Map([...bundle.files, ["manifest.json", Buffer.from(JSON.stringify(manifest))]]) };
    const { value, error } = await load(page, `${server.origin}/m/`);
    assert.equal(error, undefined, error?.message);
    const { weights, context, work, total } = value.memory;
    assert.deepEqual([value.kv_cache, total], ["f16", weights + context + work]);
  });
});

describe("a device that is known to have less", () => {
  /** 1 MB of keys and values a position in f16: 2.1 GB in all with 2000 positions, 1.05 GB with 1000. */
  const memory = {
    largest_weight: { name: "language_model.model.layers.0.self_attn.qkv_proj.weight", bytes: 120_000 },
    layers: 1000,
    keys: 256,
    head_dim: 64,
    trained_positions: 4096,
    image_tokens: 4,
    picture_bytes: 70_000,
    position_bytes: 100,
  };
  let server, page;
  eachWithFreshPage(makeBundle({ memory }), (fresh) => ({ server, page } = fresh));

  const safari = (device, version = "Version/26.0 Mobile/15E148") => `Mozilla/5.0 (${device}) AppleWebKit/605.1.15 (KHTML, like Gecko) ${version} Safari/604.1`;
  const IPHONE = { userAgent: safari("iPhone; CPU iPhone OS 18_6 like Mac OS X"), maxTouchPoints: 5 };
  const IPAD = { userAgent: safari("Macintosh; Intel Mac OS X 10_15_7", "Version/26.0"), maxTouchPoints: 5 };
  const IPAD_MOBILE = { userAgent: safari("iPad; CPU OS 18_6 like Mac OS X"), maxTouchPoints: 5 };
  const MAC = { userAgent: safari("Macintosh; Intel Mac OS X 10_15_7", "Version/26.0"), maxTouchPoints: 0 };
  const ANDROID = { userAgent: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Mobile Safari/537.36", maxTouchPoints: 5 };

  /** What the browser says of its device, options, the sum in MB, and the limit that is told, if one is. */
  const CASES = {
    "a computer of 8 GB or more": [{ ...MAC, deviceMemory: 8 }, { context_length: 4096, kv_cache: "f32" }],
    "one of 16 GB or more": [{ ...MAC, deviceMemory: 16 }, { context_length: 4096, kv_cache: "f32" }],
    "one that does not say": [MAC, { context_length: 4096, kv_cache: "f32" }],
    "one of 2 GB with room": [{ ...MAC, deviceMemory: 2 }, { context_length: 2000 }],
    "one of 1 GB": [{ ...MAC, deviceMemory: 1 }, { context_length: 2000 }, 2049, /device has about 1074 MB/],
    "one of 4 GB": [{ ...MAC, deviceMemory: 4 }, { context_length: 4096, kv_cache: "f32" }, 8390, /device has about 4295 MB/],
    "an iPhone with room": [IPHONE, { context_length: 500 }],
    "an iPhone": [IPHONE, { context_length: 1000 }, 1025, /page on an iPhone .*700 MB/],
    "an iPad with room": [IPAD, { context_length: 1000 }],
    "an iPad that passes for a Mac": [IPAD, { context_length: 2000 }, 2049, /page on an iPad .*1500 MB/],
    "an iPad that does not": [IPAD_MOBILE, { context_length: 2000 }, 2049, /page on an iPad .*1500 MB/],
    "an Android device with room": [{ ...ANDROID, deviceMemory: 8 }, { context_length: 1000 }],
    "an Android device": [{ ...ANDROID, deviceMemory: 8 }, { context_length: 2000 }, 2049, /page on Android .*1500 MB/],
    "an Android device of 1 GB: the lower limit": [{ ...ANDROID, deviceMemory: 1 }, { context_length: 2000 }, 2049, /device has about 1074 MB/],
  };
  for (const [what, [device, options, sum, limit]] of Object.entries(CASES)) {
    test(`${what}: ${limit ? "a warning before the download, and no refusal" : "nothing is said"}`, async () => {
      await page.evaluate((device) => {
        for (const [name, value] of Object.entries({ deviceMemory: undefined, ...device })) Object.defineProperty(navigator, name, { value });
      }, device);
      const url = `${server.origin}/m/`;
      const plan = await page.evaluate(
        async ([url, options]) => {
          const { problems, ...rest } = await globalThis.llava.availability(url, options);
          return { ...rest, problems: problems.map(({ code, message }) => ({ code, message })) };
        },
        [url, options],
      );
      assert.equal(plan.available, true);
      server.fault = (path, _, response) => path.includes("/chunks/") && (response.writeHead(403).end(), true);
      const { error, warnings } = await load(page, url, options);
      assert.equal(error?.code, "network");
      assert.deepEqual(warnings, plan.problems);
      assert.deepEqual(plan.problems.map(({ code }) => code), limit ? ["low_memory"] : []);
      if (!limit) return;
      const [{ message }] = warnings;
      assert.match(message, limit);
      assert.ok(message.includes(`${sum} MB`) && /fewer bits.*`context_length`.*smaller model/.test(message), message);
    });
  }
});
