import { callback } from "../basics/callback.js";
import { LlavaError } from "../basics/errors.js";
import { PRECISIONS, type KvFormat, type LoadProgress, type ModelInfo, type Precision } from "../basics/info.js";
import { nameOf } from "../basics/naming.js";
import { ASSET_OPTIONS, checkAssets, wasmAddresses, type Assets } from "../engine/assets.js";
import { memoryLimit } from "../engine/memory-limit.js";
import type { DeviceChoice } from "../engine/choice.js";
import { RecoveringEngine } from "../engine/recovering-engine.js";
import { readImage, type ImageInput } from "../input/image.js";
import { checkInput, OPTIONAL_FIELDS, type EngineInput, type GenerateOptions, type Input } from "../input/input.js";
import type { EngineImage } from "../input/pixels.js";
import { checkDevice, chosenDevice, configuration } from "./configure.js";
import { sourceOf } from "./model-url.js";
import { asOptions } from "./options.js";
import type { Result } from "./result.js";
import { TextStream } from "./stream.js";

declare global {
  // As in TypeScript's lib esnext.disposable, which is newer than the oldest TypeScript that reads these types.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** How a model is loaded. `worker`, `wasm` and `engine` are as in `configure`, for this load alone. */
export interface LoadOptions extends Assets {
  /** Told how far it is. As with every callback, what it throws ends the call. */
  onProgress?: (progress: LoadProgress) => void;
  /**
   * Told what went wrong without stopping a load (no room to store, a damaged file, a device with less memory than the model
   * takes, ...) or an answer (the GPU was lost, and the model is loaded again); `console.warn` where absent.
   */
  onWarning?: (error: LlavaError) => void;
  /** Stops the download; what is stored by then stays. */
  signal?: AbortSignal;
  /**
   * What it runs on. `auto`, where absent: the GPU; the CPU where there is no GPU but software, or where the GPU fails to load the
   * model. `onWarning` is told why.
   */
  device?: DeviceChoice;
  /** Most tokens of picture, prompt and answer together; the model's own where absent. More takes more memory. */
  context_length?: number;
  /**
   * `f16` halves the memory of the context, at a small loss, and needs heads whose size is a multiple of 8. Where absent it is `f16` in
   * models that have such heads, else `f32`.
   */
  kv_cache?: KvFormat;
  /**
   * To how many bits the inputs of products may be rounded where that is faster; answers can differ in a word then. `exact`: to none,
   * they are f32. `half`: weights to 16 for a prompt and a picture, on GPUs that have such numbers. `fast`: to 8. Where absent it is `half` on GPUs with
   * 16-bit numbers, `exact` on others and on CPUs.
   */
  precision?: Precision;
  /**
   * Asks the server for a new version of the model, of which only the chunks that changed are fetched. Without it a
   * model that is stored whole is loaded without any request.
   */
  update?: boolean;
  /**
   * Where the browser's storage is full: deletes the models that were not used for the longest time, one by one, to
   * keep this one. Each is told through `onWarning`. Without it nothing is deleted, and what does not fit is fetched
   * again on the next visit.
   */
  evict?: boolean;
}

/** What goes with one call beside the input. */
export interface RunOptions {
  /** Stops the model; the call rejects with code `aborted`. */
  signal?: AbortSignal;
  /** Told the answer piece by piece, with the number of tokens so far. What it throws ends the call. */
  onToken?: (piece: string, tokens: number) => void;
}

/** Input fields and call options together. */
export type CaptionOptions = GenerateOptions & RunOptions;

const LOAD_OPTIONS = ["onProgress", "onWarning", "signal", "device", "context_length", "kv_cache", "precision", "update", "evict", ...ASSET_OPTIONS];
const RUN_OPTIONS = ["signal", "onToken"];

/** A loaded model, in a worker of its own where there are workers. */
export class Model {
  #engine: RecoveringEngine;

  private constructor(engine: RecoveringEngine) {
    this.#engine = engine;
  }

  /** What the model and the GPU are. Where the GPU has failed and the model was loaded again, those of now. */
  get info(): Readonly<ModelInfo> {
    return this.#engine.info;
  }

  /** @see load */
  static load(url: string | URL, options: LoadOptions = {}): Promise<Model> {
    return Model.loadFor(undefined, url, options);
  }

  /** Loads a model for a picture: rejects with its error, before any weights are fetched, if the engine cannot read it. @internal */
  static async loadFor(picture: EngineImage | undefined, url: string | URL, options: LoadOptions): Promise<Model> {
    const { onProgress, onWarning = report, signal, ...settings } = asOptions(options, "load", LOAD_OPTIONS);
    checkSettings(settings);
    const { context_length, kv_cache, precision, update, evict } = settings;
    const configured = configuration();
    const { worker = configured.worker, wasm = configured.wasm } = settings;
    const device = chosenDevice(settings.device);
    const engine = settings.engine ?? (settings.worker === undefined ? configured.engine : undefined);
    const source = sourceOf(url);
    const request = { type: "load", source, device, wasm: wasmAddresses(wasm), context_length, kv_cache, precision, update, evict } as const;
    const plan = { assets: { worker, engine }, request, onWarning: callback("onWarning", onWarning) };
    return new Model(await RecoveringEngine.load(plan, { picture, memory_limit: memoryLimit(), onProgress: callback("onProgress", onProgress), signal }));
  }

  /** The description of a picture, or the answer to a question about it; without a picture from a model that sees none. */
  async caption(image: ImageInput | undefined, prompt?: string, options: CaptionOptions = {}): Promise<string> {
    const { signal, onToken, ...fields } = captionOptions(options, "caption", RUN_OPTIONS);
    const result = await this.run(asInput(image, prompt, fields), { signal, onToken });
    return result.description;
  }

  /** The same, piece by piece: `for await (const piece of model.stream(image, prompt))`. */
  stream(image: ImageInput | undefined, prompt?: string, options: CaptionOptions = {}): TextStream {
    return new TextStream(async (stop, push) => {
      const { signal, onToken, ...fields } = captionOptions(options, "stream", RUN_OPTIONS);
      const either = signal ? AbortSignal.any([signal, stop]) : stop;
      const tell = (piece: string, tokens: number) => {
        push(piece);
        onToken?.(piece, tokens);
      };
      return this.run(asInput(image, prompt, fields), { signal: either, onToken: tell });
    });
  }

  /**
   * Runs the hosted model's input, after the requests before it. Where the GPU is lost meanwhile, the model is loaded again, from
   * the store, and the answer goes on where it stood; after a third loss in one request that is an error of code `gpu`. So is a request
   * for which the GPU has no room; the next one loads the model again.
   *
   * @throws LlavaError `missing_input`, `invalid_input`, `bad_image`, `too_large`, `aborted`, `disposed`, `gpu` or
   * `engine_failed`.
   */
  async run(input: Input, options: RunOptions = {}): Promise<Result> {
    const { signal } = asOptions(options, "run", RUN_OPTIONS);
    if (this.#engine.ended) throw this.#engine.ended;
    const { image, fields } = checkInput(input, this.info.image_tokens > 0);
    return this.answer(image === undefined ? undefined : await readImage(image, signal), fields, options);
  }

  /** Runs what was checked and read before. @internal */
  async answer(image: EngineImage | undefined, input: EngineInput, { signal, onToken }: RunOptions): Promise<Result> {
    const { seed = randomSeed() } = input;
    const output = await this.#engine.generate({ type: "generate", image, input: { ...input, seed } }, callback("onToken", onToken), signal);
    const { prompt_tokens, cached_tokens, completion_tokens } = output;
    return {
      description: output.description,
      usage: { prompt_tokens, cached_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
      finish_reason: output.finish_reason as Result["finish_reason"],
      token_ids: output.token_ids,
      token_logprobs: output.token_logprobs,
      seed,
      timings: { load: this.info.load_ms, ...output.timings },
      model: output.model,
      adapter: this.info.adapter,
    };
  }

  /** Frees the GPU memory and the worker. Calls under way reject with code `disposed`. */
  dispose(): void {
    this.#engine.end(new LlavaError("disposed", "The model was disposed of. Load it again to use it."));
  }

  /** `await using model = await load(url)` disposes of the model at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  /**
   * Whether the model can no longer answer: disposed of, or its engine crashed. A GPU that was lost or out of memory is no end: the
   * next call loads the model again.
   */
  get ended(): boolean {
    return this.#engine.ended !== undefined;
  }
}

/** Where nobody listens: that a model runs on the CPU is how most machines without a GPU are, and no alarm. */
function report(warning: LlavaError): void {
  if (warning.code === "webgpu_unavailable") console.info(`llava-web: ${warning.message}`);
  else console.warn(warning);
}

/** A whole number from 0 to 2^53 - 1, as `GenerateOptions.seed`. */
function randomSeed(): number {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return (high! % 2 ** 21) * 2 ** 32 + low!;
}

/** @throws LlavaError `invalid_input`, naming the option. */
function checkSettings(settings: LoadOptions): void {
  const bad = (problem: string) => new LlavaError("invalid_input", problem);
  const { precision, update, evict } = settings;
  checkContextOptions(settings);
  checkAssets(settings);
  checkDevice(settings.device);
  checkPrecision(precision);
  for (const [name, value] of Object.entries({ update, evict })) {
    if (value !== undefined && typeof value !== "boolean") throw bad(`\`${name}\` must be true or false.`);
  }
}

/** @throws LlavaError `invalid_input` */
export function checkPrecision(precision: LoadOptions["precision"]): void {
  if (precision === undefined || PRECISIONS.includes(precision)) return;
  throw new LlavaError("invalid_input", `\`precision\` must be "exact", "half" or "fast", not ${nameOf(precision)}.`);
}

/** @throws LlavaError `invalid_input` for what no model and no GPU could do. */
export function checkContextOptions({ context_length, kv_cache }: Pick<LoadOptions, "context_length" | "kv_cache">): void {
  if (context_length !== undefined && (!Number.isSafeInteger(context_length) || context_length < 1)) {
    throw new LlavaError("invalid_input", "`context_length` must be a whole number, 1 or more.");
  }
  if (kv_cache !== undefined && kv_cache !== "f32" && kv_cache !== "f16") {
    throw new LlavaError("invalid_input", '`kv_cache` must be "f32" or "f16".');
  }
}

/**
 * The options of a call that has picture and prompt as arguments: the input's other fields, and what else is `known`.
 *
 * @throws LlavaError `invalid_input`, naming the option
 */
export function captionOptions<T extends object>(options: T, call: string, known: readonly string[]): T {
  const given = asOptions(options, call);
  for (const name of ["image", "prompt"]) {
    if (name in given) throw new LlavaError("invalid_input", `\`${name}\` is an argument of its own, not an option: ${call}(image, prompt, options).`);
  }
  return asOptions(given, call, [...OPTIONAL_FIELDS, ...known]);
}

/** Arguments of a call as the hosted model's input. */
export function asInput(image: ImageInput | undefined, prompt: string | undefined, fields: GenerateOptions): Input {
  return { image, prompt, ...fields };
}
