import type { ErrorCode, LlavaError, PlainError } from "../basics/errors.js";
import type { DeviceKind, KvFormat, LoadProgress, ModelInfo, Precision, Timings } from "../basics/info.js";
import type { EngineInput } from "../input/input.js";
import type { EngineImage } from "../input/pixels.js";
import type { SourceAddress } from "../weights/sources.js";
import type { DeviceChoice } from "./choice.js";
import type { MemoryLimit } from "./memory-limit.js";

/** The engine's answer, as src/engine.rs writes it. */
export interface EngineOutput {
  /** The model that answered: a bundle may have two. */
  model: string;
  description: string;
  token_ids: number[];
  token_logprobs: number[];
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  finish_reason: "stop" | "length" | "aborted";
  timings: Omit<Timings, "load">;
}

export interface LoadRequest {
  type: "load";
  source: SourceAddress;
  device: DeviceChoice;
  /** Addresses of the engines' wasm. */
  wasm: Record<DeviceKind, string>;
  /** The picture that the model is loaded for: one that the engine cannot read costs no download of weights. */
  picture: EngineImage | undefined;
  context_length: number | undefined;
  kv_cache: KvFormat | undefined;
  /** What the page may have at most, as far as it is known: a model that takes more is warned of. */
  memory_limit: MemoryLimit | undefined;
  precision: Precision | undefined;
  update: boolean | undefined;
  evict: boolean | undefined;
  /** The kernel variants of an engine before, which hold on the same adapter: then the same request gives the same answer. */
  chosen: Pick<ModelInfo, "adapter" | "variants"> | undefined;
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

/** Asks the page for threads that help; for none, where they are of no more use. They take the engine's wasm and its memory. */
export interface Help {
  type: "help";
  wanted: number;
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** Page to engine. `id` ties replies to requests; an abort names the request it stops; `helping` answers `Help`. */
export type Request = ((LoadRequest | GenerateRequest) & { id: number }) | { type: "abort"; id: number } | { type: "hello" } | { type: "helping"; count: number };

/** Told on the way to an answer. */
export type Event =
  | { type: "progress"; progress: LoadProgress }
  | { type: "warning"; error: PlainError }
  | { type: "piece"; text: string; tokens: number };

/**
 * Engine to page. Every request gets exactly one `done` or `failed`, unless the engine ends before: after `crashed`, `lost` and
 * `out_of_memory` nothing counts. `ready` answers `hello`.
 */
export type Reply =
  | { type: "ready"; build: string }
  | (Event & { id: number })
  | { type: "done"; id: number; value: Answers[keyof Answers] }
  | { type: "failed"; id: number; error: PlainError }
  | { type: "crashed"; error: PlainError }
  /** The GPU is gone; `what` says so in a sentence. */
  | { type: "lost"; what: string }
  /** The device had no room for what was running, and the engine can do no more. */
  | { type: "out_of_memory"; code: ErrorCode; what: string; cure: string };

/** Where an engine runs, as its caller sees it: a worker, or the caller's own thread. */
export interface Thread {
  post(request: Request): void;
  /** Frees the engine with all it holds. */
  end(): void;
}

export interface ThreadEvents {
  onReply(reply: Reply): void;
  /** The thread is of no more use. */
  onFailure(error: LlavaError): void;
}
