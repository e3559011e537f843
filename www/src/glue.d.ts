/** The engine as wasm-bindgen exports it from src/web.rs, for one kind of device, which scripts/bundle.mjs makes a function of. */
declare module "llava-web:glue/*" {
  /** An instance of the wasm, before that is there. */
  export interface Glue {
    /** Starts the wasm, in `memory` where it has none of its own. */
    default(wasm: { module_or_path: Response | Promise<WebAssembly.Module>; memory?: WebAssembly.Memory | undefined }): Promise<{ memory: WebAssembly.Memory }>;
    Engine: typeof Engine;
    /** Whether it was once given no memory, which is what it crashed of then. */
    out_of_memory(): boolean;
    /** The compiled wasm, for threads that help; absent where the engine knows no such threads. */
    module?(): WebAssembly.Module;
  }

  /** A wasm of its own, which shares nothing with others of the thread. */
  export function instantiate(): Glue;

  export class Engine {
    /**
     * `readChunk` resolves to verified bytes; `onAllRead` is called when no further chunk will be asked for and only the GPU's
     * programs are left to compile; `options` is JSON: `{ context_length?, kv_cache?, precision?, variants? }`.
     */
    static load(
      manifest: string,
      tokenizers: string[],
      readChunk: (index: number) => Promise<Uint8Array>,
      onAllRead: () => void,
      options: string,
    ): Promise<Engine>;
    /** Names what the choice of kernel variants depends on beside the adapter; `options` as in `load`. */
    static variants_key(manifest: string, options: string): string;
    /** Throws for a picture that `generate` would refuse. */
    static check_picture(image: unknown): void;
    /** `input` is an EngineInput and the answer an EngineOutput, both as JSON. `onPiece` returns false to stop, also before the first token. */
    generate(image: unknown, input: string, onPiece: (text: string, tokens: number) => boolean): Promise<string>;
    /** JSON: model, quantization, context_length, kv_cache, memory, image_tokens, adapter, backend, precision, variants. */
    info(): string;
    /** Frees what the engine holds; nothing may be called after that. */
    free(): void;
  }
}
