// The public API. Everything else in this package may change without notice.
import { configuration } from "./api/configure.js";
import { DEFAULT_MODEL } from "./api/model-url.js";
import { asInput, captionOptions, Model, type CaptionOptions, type LoadOptions } from "./api/model.js";
import { runShared, SHARED_OPTIONS, SharedModels, type SharedLoadOptions } from "./api/shared.js";
import type { ImageInput } from "./input/image.js";

export { createAI, type AI } from "./api/ai.js";
export { availability, type Availability, type AvailabilityOptions } from "./api/availability.js";
export type { Assets } from "./engine/assets.js";
export { configure, type Configuration } from "./api/configure.js";
export type { DeviceChoice } from "./engine/choice.js";
export type { EngineModule } from "./engine.js";
export { LlavaError, type ErrorCode } from "./basics/errors.js";
export type { ImageInput } from "./input/image.js";
export type { GenerateOptions, Input, Message, MessagePart } from "./input/input.js";
export type { DeviceKind, KernelChoice, KvFormat, LoadProgress, MemoryUse, ModelInfo, Precision, Timings } from "./basics/info.js";
export { Model, type CaptionOptions, type LoadOptions, type RunOptions } from "./api/model.js";
export type { Result, Usage } from "./api/result.js";
export { models, type StoredModel } from "./api/stored.js";
export type { TextStream } from "./api/stream.js";
export { DEFAULT_MODEL } from "./api/model-url.js";

const shared = new SharedModels({}, () => configuration().idle_timeout);

/**
 * Describes a picture, or answers a question about it. The model is loaded by the first call and kept for the next ones, until
 * `dispose()` or, if `configure` says so, after a time without use.
 *
 * @param options generation settings, `signal`, `onToken`, `onProgress`, `device`, `precision`, and `model`: the URL of another bundle
 * @throws LlavaError
 */
export async function caption(
  image: ImageInput,
  prompt?: string,
  options: CaptionOptions & SharedLoadOptions & { model?: string | URL } = {},
): Promise<string> {
  const given = captionOptions(options, "caption", ["model", ...SHARED_OPTIONS]);
  const { model = DEFAULT_MODEL, device, precision, onProgress, signal, onToken, ...fields } = given;
  return (await runShared(shared, model, asInput(image, prompt, fields), { device, precision, onProgress, signal, onToken })).description;
}

/** Frees the models of `caption()`, with the memory they hold. The next call loads them again, from the store. */
export function dispose(): void {
  shared.dispose();
}

/**
 * Loads a model: the folder of a bundle made by llava-convert. What was fetched is kept in the browser, in Node in the user's cache folder, so that the next
 * load makes no request, and one that broke off goes on where it was. Tabs that load the same model fetch it once.
 * After any failure, of the GPU too, it may be called again in the same page.
 *
 * @param url the URL of the folder that holds manifest.json, in Node also its path; the model that ships with the package where absent
 * @throws LlavaError `insecure_context`, `no_such_model`, `network`, `bad_bundle`, `bad_tokenizer`, `model_too_large`,
 * `webgpu_unavailable` (where a GPU was asked for),
 * `unsupported_model`, `gpu`, `engine_failed`, `invalid_input` or `aborted`.
 */
export async function load(url: string | URL = DEFAULT_MODEL, options: LoadOptions = {}): Promise<Model> {
  return Model.load(url, options);
}
