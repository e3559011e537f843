// What a load tells, and what a model says about itself and its answers.

/** What is told while a model loads. All sizes are in bytes. */
export interface LoadProgress {
  /**
   * `start`: worker and manifest; `download`: something is still to be fetched; `load`: the rest goes to the GPU; `compile`: all
   * is there, and the GPU's programs (shaders) are compiled, so that the first answer need not wait for them.
   */
  phase: "start" | "download" | "load" | "compile";
  /** In `download`: bytes that are here, fetched or stored before. In `load`: bytes handed to the engine. In `compile`: `total`. */
  loaded: number;
  /** Size of the whole model; 0 until the manifest is read. */
  total: number;
  /** How much of the model was stored by an earlier visit. */
  from_cache: number;
}

/** The variant of an operation that runs, of those that compute correctly on this adapter the fastest. */
export interface KernelChoice {
  variant: string;
  /** Microseconds of a launch, for each variant that was timed: none where there was one only, or an earlier load's choice was kept. */
  microseconds: Record<string, number>;
  /** Variants that computed something else than they should. */
  wrong: string[];
}

export const DEVICE_KINDS = ["gpu", "cpu"] as const;

/** What a model runs on. */
export type DeviceKind = (typeof DEVICE_KINDS)[number];

/** Number format of the key-value cache: keys and values of every token of the context. */
export type KvFormat = "f32" | "f16";

/** To how many bits inputs of products may be rounded: see `LoadOptions`. */
export type Precision = (typeof PRECISIONS)[number];

export const PRECISIONS = ["exact", "half", "fast"] as const;

/** Bytes that a loaded model takes on its device, the caller's pictures and the browser's own needs not counted. */
export interface MemoryUse {
  /** All weights, as they are stored. */
  weights: number;
  /** Keys and values of every token of the context. */
  context: number;
  /** Intermediate results of a picture or of a part of a prompt; as many as were measured to be kept at once. */
  work: number;
  /** The sum. */
  total: number;
}

/** What the engine says about itself and the model it holds. */
export interface ModelInfo {
  model: string;
  quantization: string;
  context_length: number;
  /** How keys and values are stored: as `load` asked, or f16 where that fits the model's heads. */
  kv_cache: KvFormat;
  /** As `availability` tells it before. */
  memory: MemoryUse;
  /** Tokens that a picture takes in the context; 0 if the model sees none. */
  image_tokens: number;
  /** What it runs on. */
  device: DeviceKind;
  /**
   * Threads that compute. More than one has the CPU's engine where they may share memory: in Node, and in pages that are cross-origin
   * isolated.
   */
  threads: number;
  /** The GPU, as WebGPU names it, or "CPU". */
  adapter: string;
  backend: string;
  /** As it was asked of `load`, or what suits the adapter. */
  precision: Precision;
  /** Which variant of each hot operation runs on this adapter, and why; on a CPU there is one each. */
  variants: Record<string, KernelChoice>;
  /** The bundle's address. */
  url: string;
  /**
   * Whether the browser promised to keep what this site stores; where it did not, it may delete that when the disk runs
   * full. Undefined while the visitor has not answered.
   */
  persisted?: boolean;
  /** Milliseconds from the call of `load` in the worker until the model could answer. */
  load_ms: number;
  [more: string]: unknown;
}

/** Milliseconds spent on one answer; where the GPU was lost meanwhile, by the engine that gave it. */
export interface Timings {
  /** Loading the model: spent once, before the first answer, or again after the GPU was lost. */
  load: number;
  /** Decoding and encoding the picture; for a picture that was just asked about, decoding alone. */
  image: number;
  /** From the picture to the first token: the positions of the prompt that were not reused. */
  prefill: number;
  decode: number;
  /** Generated tokens per second of `decode`. */
  tokens_per_second: number;
}
