// The thread that owns the engine: one model, one request at a time, every request answered.
import init, { Engine } from "../pkg/llava_web.js";
import { BUILD } from "./build.js";
import { aborted, toLlavaError, toPlain } from "./errors.js";
import { describeAdapter, findAdapter, onGpuFailure } from "./gpu.js";
import type { ModelInfo } from "./info.js";
import { Loader } from "./loader.js";
import { chooseContext } from "./memory.js";
import { watchPolicy } from "./policy.js";
import type { Answers, EngineOutput, Event, GenerateRequest, LoadRequest, Reply, Request } from "./protocol.js";
import { keepVariants, storedVariants } from "./variants.js";
import { startWasm } from "./wasm.js";

/** An engine's end of the protocol. */
export interface Served {
  receive(request: Request): void;
  /** Ends it for a failure that no request tells. */
  crash(reason: unknown): void;
  /** Stops what runs, and frees the engine after that. */
  end(): void;
}

/** Serves one engine, whose replies go to `post`. */
export function serve(post: (reply: Reply) => void): Served {
  const stops = new Map<number, AbortController>();
  let engine: Engine | undefined;
  let unwatch: (() => void) | undefined;
  /** Settles when the request before has; the engine takes one at a time. */
  let previous: Promise<unknown> = Promise.resolve();
  watchPolicy();

  function receive(request: Request): void {
    if (request.type === "hello") return post({ type: "ready", build: BUILD });
    if (request.type === "abort") return stops.get(request.id)?.abort();
    const stop = new AbortController();
    stops.set(request.id, stop);
    previous = previous.then(() => answer(request, stop.signal)).finally(() => stops.delete(request.id));
  }

  function crash(reason: unknown): void {
    const { message } = toLlavaError(reason, "engine_failed");
    const cure = "Load the model again; if it happens again, please report it with what the console says.";
    post({ type: "crashed", error: { code: "engine_failed", message: `The engine crashed: ${message}. ${cure}` } });
  }

  function end(): void {
    for (const stop of stops.values()) stop.abort();
    unwatch?.();
    void previous.then(() => engine?.free());
  }

  async function answer(request: LoadRequest & { id: number } | GenerateRequest & { id: number }, signal: AbortSignal): Promise<void> {
    const { id } = request;
    const tell = (event: Event) => post({ ...event, id });
    try {
      if (signal.aborted) throw aborted(signal);
      const value = request.type === "load" ? await load(request, signal, tell) : await generate(request, signal, tell);
      post({ type: "done", id, value });
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) crash(error);
      else post({ type: "failed", id, error: toPlain(toLlavaError(error, "engine_failed")) });
    }
  }

  async function load(request: LoadRequest, signal: AbortSignal, tell: (event: Event) => void): Promise<Answers["load"]> {
    const { source, wasm, kv_cache = "f32", precision = "exact", update, evict } = request;
    const started = performance.now();
    // Without a GPU there is no point in downloading anything.
    const adapter = await findAdapter();
    unwatch = onGpuFailure((message) => post({ type: "crashed", error: { code: "gpu", message } }));
    // Ends the downloads still under way when the load fails for another reason.
    const end = new AbortController();
    let readFailure: unknown;
    try {
      const [loader] = await Promise.all([
        Loader.open(source, {
          signal: AbortSignal.any([signal, end.signal]),
          onProgress: (progress) => tell({ type: "progress", progress }),
          onWarning: (error) => tell({ type: "warning", error: toPlain(error) }),
          update,
          evict,
        }),
        startWasm(wasm, init),
      ]);
      // Neither a picture that cannot be read nor a context that does not fit may cost a download.
      if (request.picture) Engine.check_picture(request.picture);
      const { memory } = loader.manifest;
      // Where the manifest does not tell, the engine finds out, before it reads a weight.
      const context_length = memory ? chooseContext(memory, adapter.limits, kv_cache, request.context_length) : request.context_length;
      const readChunk = (index: number) =>
        loader.chunk(index).catch((error: unknown) => {
          readFailure = error;
          throw error;
        });
      const tokenizer = await loader.tokenizer();
      let stored: Promise<void> | undefined;
      const onAllRead = () => (stored = loader.finish());
      // In a browser the engine is not told the adapter's name.
      const name = describeAdapter(adapter);
      const options = { context_length, kv_cache, precision };
      const asked = Engine.variants_key(loader.manifestText, JSON.stringify(options));
      const variants = await storedVariants(name, asked);
      engine = await Engine.load(loader.manifestText, tokenizer, readChunk, onAllRead, JSON.stringify({ ...options, variants }));
      await stored;
      const info = JSON.parse(engine.info()) as ModelInfo;
      await keepVariants(name, asked, info);
      return { ...info, adapter: info.adapter || name, url: source.key, load_ms: performance.now() - started };
    } catch (error) {
      // The engine knows only that a chunk could not be read; the loader knows why.
      throw readFailure ?? error;
    } finally {
      end.abort();
    }
  }

  async function generate({ image, input }: GenerateRequest, signal: AbortSignal, tell: (event: Event) => void): Promise<Answers["generate"]> {
    const onPiece = (text: string, tokens: number) => {
      if (!signal.aborted) tell({ type: "piece", text, tokens });
      return !signal.aborted;
    };
    const output = JSON.parse(await engine!.generate(image, JSON.stringify(input), onPiece)) as EngineOutput;
    if (output.finish_reason === "aborted") throw aborted(signal);
    return output;
  }

  return { receive, crash, end };
}
