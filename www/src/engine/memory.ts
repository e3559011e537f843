import { LlavaError } from "../basics/errors.js";
import type { KvFormat, MemoryUse } from "../basics/info.js";
import { megabytes } from "../basics/naming.js";
import type { Manifest, MemoryNeeds } from "../weights/manifest.js";

/** Positions kept when the caller does not say, as in src/engine: the model's own limit, but no more than this. */
const DEFAULT_CONTEXT = 2048;
/** Most positions that run through the decoder at once, as in src/engine. */
const MAX_PREFILL = 1024;
/** How many of the largest intermediate result there is room for, as in src/engine. */
const WORK_RESULTS = 4;
/** Heads' sizes that f16 fits are multiples of this, as in src/kernels. */
const F16_HEADS = 8;

/** What each model of a bundle needs. */
export type Needs = readonly MemoryNeeds[];

/** How large a buffer of a GPU may be. */
export type BufferLimits = Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">;

/** The largest buffer a shader can read. */
export function largestBinding({ maxBufferSize, maxStorageBufferBindingSize }: BufferLimits): number {
  return Math.min(maxBufferSize, maxStorageBufferBindingSize);
}

/**
 * The format of keys and values of a load that asks for `asked`: f16 where it fits the heads.
 *
 * @throws LlavaError `invalid_input` where what is asked for does not.
 */
export function chooseKvFormat(models: Needs, asked: KvFormat | undefined): KvFormat {
  const unfit = models.find((needs) => !fitsF16(needs));
  if (asked === "f16" && unfit) {
    const problem = `f16 needs heads whose size is a multiple of ${F16_HEADS}, and this model's are ${unfit.head_dim}`;
    throw new LlavaError("invalid_input", `\`kv_cache\`: ${problem}. Ask for "f32", or leave it out.`);
  }
  return asked ?? (unfit ? "f32" : "f16");
}

function fitsF16({ head_dim }: MemoryNeeds): boolean {
  return head_dim % F16_HEADS === 0;
}

/** What the models take on their device, each with room of its own. */
export function memoryUse({ chunks }: Manifest, models: Needs, context_length: number, kv_cache: KvFormat): MemoryUse {
  const sum = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
  // There they are as they are stored.
  const weights = sum(chunks.map(({ bytes }) => bytes));
  const context = sum(models.map((needs) => 2 * needs.layers * context_length * rowBytes(needs, kv_cache)));
  const work = sum(models.map((needs) => WORK_RESULTS * largestOf(needs, context_length) + context_length * rotationBytes(needs)));
  return { weights, context, work, total: weights + context + work };
}

/** @throws LlavaError `model_too_large` where the model takes more than the device can address. */
export function checkAddressable({ weights, total }: MemoryUse, most: number | undefined): void {
  if (most === undefined || total <= most) return;
  const problem = `The model takes ${megabytes(total)} of memory, and WebAssembly on the CPU can address ${megabytes(most)}`;
  const fits = `at this \`context_length\` up to ${megabytes(Math.max(0, most - (total - weights)))} of weights fit`;
  throw new LlavaError("model_too_large", `${problem}: ${fits}. Convert it with fewer bits a weight, take a smaller model, or a browser with a GPU.`);
}

/** Bytes of the largest intermediate result of a picture and a prompt in a context of `context_length` positions. */
export function largestResult(models: Needs, context_length: number): number {
  return Math.max(...models.map((needs) => largestOf(needs, context_length)));
}

function largestOf({ picture_bytes, position_bytes }: MemoryNeeds, context_length: number): number {
  return Math.max(picture_bytes, position_bytes * Math.min(context_length, MAX_PREFILL));
}

/** Bytes of a position's keys, or values, in one layer: a layer's keys are one buffer, its values another. */
function rowBytes({ keys }: MemoryNeeds, kv_cache: KvFormat): number {
  return keys * (kv_cache === "f16" ? 2 : 4);
}

/** Bytes of a position in the table of rotations, which is in f32. */
function rotationBytes({ head_dim }: MemoryNeeds): number {
  return head_dim * 4;
}

/** The most positions that every model was trained for and whose buffers the GPU can bind. */
export function largestContext(models: Needs, limits: BufferLimits, kv_cache: KvFormat): number {
  return Math.min(...models.map((needs) => mostPositions(needs, limits, kv_cache)));
}

function mostPositions(needs: MemoryNeeds, limits: BufferLimits, kv_cache: KvFormat): number {
  const widest = Math.max(rowBytes(needs, kv_cache), rotationBytes(needs));
  return Math.min(needs.trained_positions, Math.floor(largestBinding(limits) / widest));
}

/**
 * The context length of a load that asks for `asked`.
 *
 * @throws LlavaError `invalid_input` where it is more than fits, naming the largest that does, or less than a picture takes.
 */
export function chooseContext(models: Needs, limits: BufferLimits, kv_cache: KvFormat, asked: number | undefined): number {
  return Math.min(...models.map((needs) => contextOf(needs, limits, kv_cache, asked)));
}

function contextOf(needs: MemoryNeeds, limits: BufferLimits, kv_cache: KvFormat, asked: number | undefined): number {
  const largest = mostPositions(needs, limits, kv_cache);
  if (asked === undefined) return Math.min(largest, DEFAULT_CONTEXT);
  const refusal = (why: string, ask: string) => new LlavaError("invalid_input", `\`context_length\`: ${asked} does not fit: ${why}. Ask for ${ask}.`);
  const least = Math.max(needs.image_tokens, 1) + 1;
  if (asked < least) throw refusal(`a picture or prompt alone takes ${least - 1} position(s)`, `${least} at least`);
  if (asked <= largest) return asked;
  const trained = needs.trained_positions;
  const [keys, most] = [megabytes(asked * rowBytes(needs, kv_cache)), megabytes(largestBinding(limits))];
  const why =
    largest === trained
      ? `the model was trained for ${trained} positions`
      : `a layer's keys would take ${keys}, and this GPU binds ${most} at most`;
  const more = kv_cache === "f32" && fitsF16(needs) && mostPositions(needs, limits, "f16") > largest;
  throw refusal(why, `${largest} at most${more ? ', or more with kv_cache: "f16"' : ""}`);
}
