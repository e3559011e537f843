// Stands in for the built engine (www/pkg/llava_web.js, in the worker) where a test is about loading, messages or pictures, not about answers.
// What it does is told by words of the prompt: `words=30 pause=20` writes 30 words, 20 ms apart, `drawn` with the seed in each, `moody`
// with other ones in each engine; `panic` dies as Rust does, `nan` fails as where logits are no numbers, `large` as where the GPU has no
// room for what the request needs.

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default async function init() {
  return {};
}

export const out_of_memory = () => false;

export class Engine {
  #name;

  static async load(manifestText, tokenizers, readChunk, onAllRead, options) {
    const manifest = JSON.parse(manifestText);
    tokenizers.map((text) => JSON.parse(text));
    const engine = new Engine();
    engine.#name = manifest.model.name;
    engine.device = await (await navigator.gpu.requestAdapter()).requestDevice();
    engine.mood = Math.random();
    const { context_length = 2048, kv_cache = "the engine's choice" } = JSON.parse(options);
    Object.assign(engine, { context_length, kv_cache });
    const chunks = [...manifest.chunks, ...(manifest.second?.manifest.chunks ?? [])];
    for (let index = 0; index < chunks.length; index++) {
      const bytes = await readChunk(index).catch((error) => {
        throw Object.assign(new Error(`chunk ${index}: ${error.message}`), { code: "io" });
      });
      const hash = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
      if (hash !== chunks[index].sha256) throw new Error(`the loader handed over a damaged chunk ${index}`);
    }
    onAllRead();
    return engine;
  }

  static check_picture(image) {
    if (image instanceof Uint8Array && image.at(-1) === 0xee) throw Object.assign(new Error("image: damaged"), { code: "bad_image" });
  }

  static variants_key() {
    return "fake";
  }

  async generate(image, inputJson, onPiece) {
    const input = JSON.parse(inputJson);
    const prompt = input.prompt ?? "";
    if (prompt.includes("panic")) {
      queueMicrotask(() => {
        throw new WebAssembly.RuntimeError("unreachable");
      });
      await new Promise(() => undefined);
    }
    if (prompt.includes("large")) {
      const error = new GPUOutOfMemoryError("no memory");
      queueMicrotask(() => this.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error })));
      await new Promise(() => undefined);
    }
    if (prompt.includes("nan")) throw Object.assign(new Error("GPU: something that is no number"), { code: "gpu" });
    if (prompt.includes("fail")) throw Object.assign(new Error("image: not a picture"), { code: "bad_image" });
    const count = Number(/words=(\d+)/.exec(prompt)?.[1] ?? 1);
    const pause = Number(/pause=(\d+)/.exec(prompt)?.[1] ?? 0);
    const mark = (prompt.includes("drawn") ? `:${input.seed}` : "") + (prompt.includes("moody") ? `:${this.mood}` : "");
    const words = [];
    let goesOn = onPiece("", 0);
    while (goesOn && words.length < count) {
      words.push(`word${words.length}${mark} `);
      if (pause > 0) await sleep(pause);
      goesOn = onPiece(words.at(-1), words.length);
    }
    return JSON.stringify({
      model: this.#name,
      description: prompt.includes("echo") ? JSON.stringify({ image: await describe(image), input }) : words.join(""),
      token_ids: words.map((_, index) => index),
      token_logprobs: words.map(() => -0.5),
      prompt_tokens: 7,
      cached_tokens: 5,
      completion_tokens: words.length,
      finish_reason: goesOn ? "stop" : "aborted",
      timings: { image: 1, prefill: 2, decode: 3, tokens_per_second: 4 },
    });
  }

  info() {
    const settings = { context_length: this.context_length, kv_cache: this.kv_cache, precision: "exact", image_tokens: 4 };
    return JSON.stringify({ model: this.#name, quantization: "q8", ...settings, adapter: "fake", backend: "fake", variants: {} });
  }
}

/** What a picture came as: `bytes:<sha256>` or `pixels:<width>x<height>:<first pixel>`. */
async function describe(image) {
  if (image === undefined) return "none";
  if (image instanceof Uint8Array) return `bytes:${hex(new Uint8Array(await crypto.subtle.digest("SHA-256", image)))}`;
  return `pixels:${image.width}x${image.height}:${Array.from(image.data.subarray(0, 4))}:${image.data.length}`;
}
