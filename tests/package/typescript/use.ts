// The whole public API, as a program in TypeScript uses it. It is only compiled.
import { availability, caption, configure, createAI, DEFAULT_MODEL, dispose, LlavaError, load, Model, models } from "llava-web";
import type { AI, Assets, Availability, AvailabilityOptions, CaptionOptions, Configuration, EngineModule, ErrorCode } from "llava-web";
import type { GenerateOptions, ImageInput, Input, KernelChoice, KvFormat, LoadOptions, LoadProgress, Message, MessagePart } from "llava-web";
import type { MemoryUse, ModelInfo, Result, RunOptions, StoredModel, TextStream, Timings, Usage } from "llava-web";
import * as engine from "llava-web/engine";

const assets: Assets = { worker: new URL("https://example.org/worker.js"), wasm: "/engine.wasm" };
const configuration: Configuration = { ...assets, engine: engine satisfies EngineModule, model: "/model/", idle_timeout: 60_000 };
configure(configuration);
configure({ worker: () => new Worker("/worker.js", { type: "module" }) });

const pictures: ImageInput[] = [
  "picture.jpg",
  new URL("https://example.org/picture.jpg"),
  new Blob(),
  new File([], "picture.jpg"),
  new Uint8Array(8),
  new Uint8Array(8).buffer,
  new ImageData(1, 1),
  new OffscreenCanvas(1, 1),
  new Image(),
  document.createElement("canvas"),
  document.createElement("video"),
];

const generate: GenerateOptions = { max_tokens: 64, temperature: 0.5, top_p: 0.9, top_k: 40, seed: 1, stop: ["."], raw: false };
const run: RunOptions = { signal: new AbortController().signal, onToken: (piece: string, tokens: number) => console.log(piece, tokens) };
const options: CaptionOptions = { ...generate, ...run };

const part: MessagePart = { type: "text", text: "What is this?" };
const messages: Message[] = [{ role: "user", content: [part] }, { role: "assistant", content: "A star." }];
const input: Input = { ...generate, image: new Uint8Array(8), messages };

const kv_cache: KvFormat = "f16";
const plan: AvailabilityOptions = { context_length: 512, kv_cache };
const loading: LoadOptions = {
  ...plan,
  ...assets,
  precision: "fast",
  update: true,
  evict: true,
  onProgress: ({ phase, loaded, total }: LoadProgress) => console.log(phase, loaded / total),
  onWarning: ({ code }: LlavaError) => console.log(code satisfies ErrorCode),
};

export async function everything(): Promise<string[]> {
  const { available, problems, memory }: Availability = await availability(DEFAULT_MODEL, plan);
  const codes: ErrorCode[] = problems.map((problem: LlavaError) => problem.code);
  console.log(available, codes, memory?.total);

  const model: Model = await load(new URL("https://example.org/model/"), loading);
  const info: Readonly<ModelInfo> = model.info;
  const { weights, context, work, total }: MemoryUse = info.memory;
  console.log(weights + context + work === total);
  const choices: KernelChoice[] = Object.values(info.variants);
  const stream: TextStream = model.stream(new Blob(), "What?", options);
  for await (const piece of stream) console.log(piece.length);
  const result: Result = await model.run(input, run);
  const usage: Usage = result.usage;
  const timings: Timings = (await stream.result).timings;
  console.log(usage.cached_tokens, result.seed + 1, timings.decode, choices.length);
  model.dispose();

  const ai: AI = createAI({ "@cf/llava-hf/llava-1.5-7b-hf": "https://example.org/model/" }, { kv_cache });
  const { description } = await ai.run("@cf/llava-hf/llava-1.5-7b-hf", input);
  ai.dispose();

  const stored: StoredModel[] = await models.list();
  for (const { url, last_used } of stored) if (last_used.getTime() === 0) await models.delete(url);

  const texts = await Promise.all(pictures.map((picture) => caption(picture, "What?", { ...options, model: DEFAULT_MODEL })));
  dispose();
  return [description, ...texts];
}

// @ts-expect-error: what is no picture is none for the compiler either.
void caption(5);
