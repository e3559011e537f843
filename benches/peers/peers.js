// Runs in the page: other engines on the shapes of ../src/models.rs, with the models of models.py. Every function resolves
// to `{ engine, check, results: { metric: milliseconds } }`; metrics are named as ours are.

const PROMPT = 64;
/** Steps of a decoder before the clock starts, and the fewest that count. */
const WARM_STEPS = 3;
const FEWEST = 5;

const median = (samples) => {
  const sorted = [...samples].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** Milliseconds of `work`, at least five times, three times where it takes more than 6 s; after one warm-up unless the caller had one. */
async function repeat(work, { warm = 1, most = 8 } = {}) {
  for (let i = 0; i < warm; i++) await work();
  const samples = [];
  const started = performance.now();
  while (samples.length < FEWEST || (samples.length < most && performance.now() - started < 3000)) {
    const start = performance.now();
    await work();
    samples.push(performance.now() - start);
    if (samples.length >= 3 && median(samples) > 6000) break;
  }
  return median(samples);
}

/** The generator that models.py has too. */
function pixels(count) {
  let state = 0x9e3779b9;
  return Float32Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state / 2147483648 - 1;
  });
}

const bytes = async (file) => new Uint8Array(await (await fetch(`/models/${file}`)).arrayBuffer());
const known = async (name) => (await fetch(`/models/${name}.json`)).json();
const largest = (logits) => logits.reduce((best, value, index) => (value > logits[best] ? index : best), 0);

// ---- onnxruntime-web ----

const ORT_LIMITS = [
  "maxBufferSize", "maxStorageBufferBindingSize", "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY", "maxComputeWorkgroupSizeZ", "maxComputeWorkgroupStorageSize", "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage", "maxBindGroups",
];

/**
 * A session on so many threads of the CPU (`wasm`), or on a device of our own without the feature `subgroups`: with it, its prefill attention takes for granted that a
 * subgroup has eight invocations, and its logits are wrong on SwiftShader, which has four.
 */
async function ortSession(file, provider = "webgpu", options = {}, threads = 1) {
  const ort = await import(`/node_modules/onnxruntime-web/dist/ort.${provider}.bundle.min.mjs`);
  ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
  const engine = `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common} (${provider})`;
  const sessionOn = async (executionProvider) => {
    const all = { executionProviders: [executionProvider], graphOptimizationLevel: "all", ...options };
    return { ort, session: await ort.InferenceSession.create(await bytes(file), all), engine };
  };
  if (provider === "wasm") {
    ort.env.wasm.numThreads = threads;
    return sessionOn("wasm");
  }
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice({
    requiredFeatures: [...adapter.features].filter((feature) => /^(shader-f16|timestamp-query)$/.test(feature)),
    requiredLimits: Object.fromEntries(ORT_LIMITS.map((limit) => [limit, adapter.limits[limit]])),
  });
  return sessionOn({ name: "webgpu", device });
}

/** Keys and values stay on the GPU; logits are read back for each token, as in transformers.js. */
export async function ortDecoder(name) {
  const model = await known(name);
  const caches = Array.from({ length: model.layers }, (_, i) => ["key", "value"].map((part) => [`past_key_values.${i}.${part}`, `present.${i}.${part}`])).flat();
  const preferredOutputLocation = Object.fromEntries(caches.map(([, present]) => [present, "gpu-buffer"]));
  const { ort, session, engine } = await ortSession(`${name}.onnx`, "webgpu", { preferredOutputLocation });

  const integers = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const empty = () => Object.fromEntries(caches.map(([past]) => [past, new ort.Tensor("float32", new Float32Array(0), [1, model.kv, 0, model.head_dim])]));
  const free = (cache) => Object.values(cache).forEach((tensor) => tensor.location === "gpu-buffer" && tensor.dispose());
  const run = async (ids, cache, length) => {
    const outputs = await session.run({ input_ids: integers(ids), attention_mask: integers(new Array(length + ids.length).fill(1)), ...cache });
    free(cache);
    return { logits: outputs.logits.data, cache: Object.fromEntries(caches.map(([past, present]) => [past, outputs[present]])) };
  };

  let step = await run(model.prompt, empty(), 0);
  const error = Math.max(...model.logits.map((value, i) => Math.abs(step.logits[model.logits_from + i] - value))) / model.deviation;
  const drawn = [largest(step.logits)];
  const samples = [];
  const started = performance.now();
  for (let i = 0; samples.length < 32; i++) {
    const start = performance.now();
    step = await run([drawn.at(-1)], step.cache, PROMPT + i);
    drawn.push(largest(step.logits));
    if (i >= WARM_STEPS) samples.push(performance.now() - start);
    if (samples.length >= FEWEST && performance.now() - started > 25_000) break;
  }
  free(step.cache);
  const prefill = await repeat(async () => free((await run(model.prompt, empty(), 0)).cache), { warm: 0 });
  await session.release();
  return {
    engine,
    check: `${check(drawn, model.greedy)}, largest error ${error.toExponential(1)} of the logits' deviation`,
    results: { "decode@64": median(samples), "prefill 64": prefill },
  };
}

export async function ortVision(provider, threads) {
  const model = await known("V");
  const { ort, session, engine } = await ortSession("V.onnx", provider, {}, threads);
  const side = model.image;
  const input = { pixel_values: new ort.Tensor("float32", pixels(3 * side * side), [1, 3, side, side]) };
  const { pooled } = await session.run(input);
  const error = Math.max(...model.pooled.map((value, i) => Math.abs(pooled.data[i] - value)));
  const image = await repeat(() => session.run(input));
  await session.release();
  return { engine, check: `largest error ${error.toExponential(1)}`, results: { image } };
}

function check(drawn, greedy) {
  const same = greedy.findIndex((token, i) => token !== drawn[i]);
  return `greedy tokens as numpy's: ${same < 0 ? greedy.length : same} of ${greedy.length}`;
}

// ---- wllama: llama.cpp in wasm, on the CPU ----

/** By llama.cpp's own clock; `kind`: of its weights. */
export async function wllama({ name, kind = "Q4_0", threads }) {
  const model = await known(name);
  const { Wllama } = await import("/node_modules/@wllama/wllama/esm/index.min.js");
  const quiet = () => {};
  const logger = { debug: quiet, log: quiet, warn: quiet, error: console.error };
  const llama = new Wllama({ default: "/node_modules/@wllama/wllama/esm/wasm/wllama.wasm" }, { logger });
  await llama.loadModel([new Blob([await bytes(`${name}-${kind}.gguf`)])], {
    n_ctx: 1024, n_batch: 512, n_ubatch: 512, n_parallel: 1, n_threads: threads, n_gpu_layers: 0, warmup: false, cache_idle_slots: false, ctx_shift: false,
  });
  const generate = async (max_tokens, cache_prompt) => {
    const tokens = [];
    let timings;
    await llama.createCompletion({
      prompt: String.fromCodePoint(...model.prompt.map((id) => 0x20000 + id)),
      max_tokens, cache_prompt, temperature: 0, top_k: 1, samplers: ["top_k"], ignore_eos: true, stream: true, timings_per_token: true, return_tokens: true, n_probs: 0,
      onData: (chunk) => {
        timings = chunk.timings ?? timings;
        for (const character of chunk.choices?.[0]?.text ?? "") tokens.push(character.codePointAt(0) - 0x20000);
      },
    });
    return { tokens, timings };
  };
  const { tokens } = await generate(model.greedy.length, false);
  const prefills = [];
  for (let i = 0; i < FEWEST; i++) prefills.push((await generate(1, false)).timings.prompt_ms);
  const decodes = [];
  await generate(4, true);
  for (let i = 0; i < FEWEST; i++) {
    const { predicted_ms, predicted_n } = (await generate(16, true)).timings;
    decodes.push(predicted_ms / (predicted_n - 1));
  }
  const engine = `wllama ${kind} (CPU, ${llama.isMultithread() ? llama.getNumThreads() : 1} threads)`;
  // The values of IQ4_NL are others.
  const checked = kind === "IQ4_NL" ? "not checked" : check(tokens, model.greedy);
  return { engine, check: checked, results: { "decode@64": median(decodes), "prefill 64": median(prefills) } };
}
