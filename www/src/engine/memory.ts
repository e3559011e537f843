import { LlavaError } from "../basics/errors.js";
import type { KvFormat } from "../basics/info.js";
import { megabytes } from "../basics/naming.js";
import type { Manifest } from "../weights/manifest.js";

/** Positions kept when the caller does not say, as in src/engine.rs: the model's own limit, but no more than this. */
const DEFAULT_CONTEXT = 2048;

/** How large a buffer of a GPU may be. */
export type BufferLimits = Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">;

/** The largest buffer a shader can read. */
export function largestBinding({ maxBufferSize, maxStorageBufferBindingSize }: BufferLimits): number {
  return Math.min(maxBufferSize, maxStorageBufferBindingSize);
}

/** Bytes of all weights on the GPU, where they are as they are stored. */
export function weightBytes({ tensors }: Manifest): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * The largest weight that must lie in one buffer: a decoder layer's q, k and v, which are one to the engine. Where others
 * are too large for a buffer, the engine cuts them.
 */
export function largestWeight({ tensors }: Manifest): { name: string; bytes: number } | undefined {
  const sizes = new Map<string, number>();
  for (const { name, bytes } of tensors) {
    const part = /^(language_model\..*)\b[qkv]_proj\.weight$/.exec(name);
    if (!part) continue;
    const whole = `${part[1]}qkv_proj.weight`;
    sizes.set(whole, (sizes.get(whole) ?? 0) + bytes);
  }
  const [largest] = [...sizes].sort(([, a], [, b]) => b - a);
  return largest && { name: largest[0], bytes: largest[1] };
}

/** Bytes of a position's keys, or values, in one layer: a layer's keys are one buffer, its values another. */
function rowBytes({ decoder }: Manifest, kv_cache: KvFormat): number {
  return decoder.num_key_value_heads * decoder.head_dim * (kv_cache === "f16" ? 2 : 4);
}

/** Bytes on the GPU of the keys and values of `context_length` positions. */
export function contextBytes(manifest: Manifest, context_length: number, kv_cache: KvFormat): number {
  return 2 * manifest.decoder.num_hidden_layers * context_length * rowBytes(manifest, kv_cache);
}

/** The most positions that the model was trained for and whose buffers the GPU can bind. */
export function largestContext(manifest: Manifest, limits: BufferLimits, kv_cache: KvFormat): number {
  // The table of rotations, in f32, has a row for each position too.
  const widest = Math.max(rowBytes(manifest, kv_cache), manifest.decoder.head_dim * 4);
  return Math.min(manifest.decoder.max_position_embeddings, Math.floor(largestBinding(limits) / widest));
}

/**
 * The context length of a load that asks for `asked`.
 *
 * @throws LlavaError `invalid_input` where it is more than fits, naming the largest that does.
 */
export function chooseContext(
  manifest: Manifest,
  limits: BufferLimits,
  kv_cache: KvFormat,
  asked: number | undefined,
): number {
  const largest = largestContext(manifest, limits, kv_cache);
  if (asked === undefined) return Math.min(largest, DEFAULT_CONTEXT);
  if (asked <= largest) return asked;
  const trained = manifest.decoder.max_position_embeddings;
  const [keys, most] = [megabytes(asked * rowBytes(manifest, kv_cache)), megabytes(largestBinding(limits))];
  const why =
    largest === trained
      ? `the model was trained for ${trained} positions`
      : `a layer's keys would take ${keys}, and this GPU binds ${most} at most`;
  const more = kv_cache === "f32" && largestContext(manifest, limits, "f16") > largest;
  const half = more ? ', or more with kv_cache: "f16"' : "";
  throw new LlavaError("invalid_input", `\`context_length\`: ${asked} does not fit: ${why}. Ask for ${largest} at most${half}.`);
}
