import type { PlainError } from "./errors.js";
import type { EngineInput } from "./input.js";
import type { EngineImage } from "./pixels.js";

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

/** Number format of the key-value cache: keys and values of every token of the context. */
export type KvFormat = "f32" | "f16";

/** What the engine says about itself and the model it holds. */
export interface ModelInfo {
  model: string;
  quantization: string;
  context_length: number;
  /** How keys and values are stored. */
  kv_cache: KvFormat;
  /** Tokens that a picture takes in the context; 0 if the model sees none. */
  image_tokens: number;
  /** The GPU, as WebGPU names it. */
  adapter: string;
  backend: string;
  /** As it was asked of `load`. */
  precision: "exact" | "fast";
  /** Which variant of each hot operation runs on this adapter, and why. */
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

/** Milliseconds spent on one answer. */
export interface Timings {
  /** Loading the model: spent once, before the first answer. */
  load: number;
  /** Decoding and encoding the picture; for a picture that was just asked about, decoding alone. */
  image: number;
  /** From the picture to the first token: the positions of the prompt that were not reused. */
  prefill: number;
  decode: number;
  /** Generated tokens per second of `decode`. */
  tokens_per_second: number;
}

/** The engine's answer, as src/engine.rs writes it. */
export interface EngineOutput {
  description: string;
  token_ids: number[];
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  finish_reason: "stop" | "length" | "aborted";
  timings: Omit<Timings, "load">;
}

export interface LoadRequest {
  type: "load";
  url: string;
  context_length: number | undefined;
  kv_cache: KvFormat | undefined;
  precision: "exact" | "fast" | undefined;
  update: boolean | undefined;
  evict: boolean | undefined;
}

export interface GenerateRequest {
  type: "generate";
  image: EngineImage | undefined;
  input: EngineInput;
}

/** What each request resolves to. */
export interface Answers {
  load: ModelInfo;
  generate: EngineOutput;
}

/** Page to worker. `id` ties replies to requests; an abort names the request it stops. */
export type Request = ((LoadRequest | GenerateRequest) & { id: number }) | { type: "abort"; id: number };

/** Told on the way to an answer. */
export type Event =
  | { type: "progress"; progress: LoadProgress }
  | { type: "warning"; error: PlainError }
  | { type: "piece"; text: string; tokens: number };

/** Worker to page. Every request gets exactly one `done` or `failed`; after `crashed` nothing follows. */
export type Reply =
  | (Event & { id: number })
  | { type: "done"; id: number; value: Answers[keyof Answers] }
  | { type: "failed"; id: number; error: PlainError }
  | { type: "crashed"; error: PlainError };
