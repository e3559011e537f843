// The thread that owns the engine: one model, one request at a time, every request answered.
import type { Engine, Glue } from "llava-web:glue/gpu";
import { aborted, toLlavaError, toPlain, type LlavaError } from "../basics/errors.js";
import type { ModelInfo } from "../basics/info.js";
import { watchPolicy } from "../basics/policy.js";
import { Loader } from "../weights/loader.js";
import { BUILD, WASM_SHA256 } from "./build.js";
import { untilLossIsTold } from "./device.js";
import { findDevice } from "./devices.js";
import { startHelpers } from "./helpers.js";
import { ENGINES } from "./kinds.js";
import { checkAddressable, chooseContext, chooseKvFormat, memoryUse } from "./memory.js";
import { lowMemory } from "./memory-limit.js";
import type { Answers, EngineOutput, Event, GenerateRequest, Help, LoadRequest, Reply, Request } from "./protocol.js";
import { sharedMemory } from "./shared-memory.js";
import type { Helpers } from "./helper-team.js";
import { keepVariants, namesOf, storedVariants } from "./variants.js";
import { startWasm } from "./wasm.js";

/** An engine's end of the protocol. */
export interface Served {
  receive(request: Request): void;
  /** Ends it for a failure that no request tells. */
  crash(reason: unknown): Promise<void>;
  /** Stops what runs, and frees the engine after that. */
  end(): void;
}

/** Serves one engine, whose replies go to `post`. */
export function serve(post: (reply: Reply | Help) => void): Served {
  const stops = new Map<number, AbortController>();
  let engine: Engine | undefined;
  let helpers: Promise<Helpers> | undefined;
  /** Told how many came. */
  let onHelping: ((count: number) => void) | undefined;
  /** Since it runs. */
  let wasm: Glue | undefined;
  /** Settles when the request before has; the engine takes one at a time. */
  let previous: Promise<unknown> = Promise.resolve();
  watchPolicy();

  function receive(request: Request): void {
    if (request.type === "hello") return post({ type: "ready", build: BUILD });
    if (request.type === "helping") return onHelping?.(request.count);
    if (request.type === "abort") return stops.get(request.id)?.abort();
    const stop = new AbortController();
    stops.set(request.id, stop);
    previous = previous.then(() => answer(request, stop.signal)).finally(() => stops.delete(request.id));
  }

  function askForHelp(help: Help): Promise<number> {
    return new Promise((resolve) => {
      onHelping = resolve;
      try {
        post(help);
      } catch {
        resolve(0); // what cannot be sent
      }
    });
  }

  async function crash(reason: unknown): Promise<void> {
    await untilLossIsTold();
    if (wasm?.out_of_memory()) {
      const cure = "Ask about a smaller picture, load with a smaller `context_length`, or take a smaller model.";
      return post({ type: "out_of_memory", code: "low_memory", what: "The engine is out of memory.", cure });
    }
    const { message } = toLlavaError(reason, "engine_failed");
    const cure = "Load the model again; if it happens again, please report it with what the console says.";
    post({ type: "crashed", error: { code: "engine_failed", message: `The engine crashed: ${message}. ${cure}` } });
  }

  function end(): void {
    for (const stop of stops.values()) stop.abort();
    void previous.then(() => {
      engine?.free();
      void helpers?.then((helpers) => helpers.end()); // also those of a load that failed
    });
  }

  async function answer(request: LoadRequest & { id: number } | GenerateRequest & { id: number }, signal: AbortSignal): Promise<void> {
    const { id } = request;
    const tell = (event: Event) => post({ ...event, id });
    try {
      if (signal.aborted) throw aborted(signal);
      const value = request.type === "load" ? await load(request, signal, tell) : await generate(request, signal, tell);
      post({ type: "done", id, value });
    } catch (error) {
      if (isCrash(error)) return crash(error);
      const failure = toLlavaError(error, "engine_failed");
      if (failure.code === "gpu") await untilLossIsTold();
      post({ type: "failed", id, error: toPlain(failure) });
    }
  }

  async function load(request: LoadRequest, signal: AbortSignal, tell: (event: Event) => void): Promise<Answers["load"]> {
    const { source, precision, update, evict, chosen } = request;
    let { kv_cache, context_length } = request;
    const warn = (error: LlavaError) => tell({ type: "warning", error: toPlain(error) });
    const begun = performance.now();
    // Without a device there is no point in downloading anything.
    const device = await findDevice(request.device, warn);
    const { kind, name } = device;
    const glue = ENGINES[kind]();
    // Ends the downloads still under way when the load fails for another reason.
    const end = new AbortController();
    let readFailure: unknown;
    let started: (() => void) | undefined;
    try {
      const [loader, exports] = await Promise.all([
        Loader.open(source, {
          signal: AbortSignal.any([signal, end.signal]),
          onProgress: (progress) => tell({ type: "progress", progress }),
          onWarning: warn,
          update,
          evict,
        }),
        startWasm({ address: request.wasm[kind], sha256: WASM_SHA256[kind] }, (response) =>
          glue.default({ ...response, memory: glue.module && sharedMemory() }),
        ),
      ]);
      wasm = glue;
      helpers = glue.module && startHelpers(glue.module(), exports.memory, askForHelp);
      // Neither a picture that cannot be read nor a context that does not fit may cost a download.
      if (request.picture) glue.Engine.check_picture(request.picture);
      const { memory: needs } = loader.manifest;
      // Where the manifest does not tell, the engine finds out, before it reads a weight.
      if (needs) {
        kv_cache = chooseKvFormat(needs, kv_cache);
        context_length = chooseContext(needs, device.limits, kv_cache, context_length);
        const use = memoryUse(loader.manifest, needs, context_length, kv_cache);
        checkAddressable(use, device.memory);
        const low = lowMemory(use, request.memory_limit);
        if (low) warn(low);
      }
      const readChunk = (index: number) =>
        loader.chunk(index).catch((error: unknown) => {
          readFailure = error;
          throw error;
        });
      const tokenizers = await loader.tokenizers();
      let stored: Promise<void> | undefined;
      const onAllRead = () => (stored = loader.finish());
      const options = { context_length, kv_cache, precision };
      const asked = glue.Engine.variants_key(loader.manifestText, JSON.stringify(options));
      const variants = chosen?.adapter === name ? namesOf(chosen.variants) : await storedVariants(name, asked);
      started = await device.watch({
        onLost: (what) => post({ type: "lost", what }),
        onOutOfMemory: (what, cure) => post({ type: "out_of_memory", code: "gpu", what, cure }),
      });
      engine = await glue.Engine.load(loader.manifestText, tokenizers, readChunk, onAllRead, JSON.stringify({ ...options, variants }));
      await stored;
      const helping = (await helpers)?.count ?? 0;
      const info = JSON.parse(engine.info()) as ModelInfo;
      await keepVariants(name, asked, info);
      // In a browser the engine is not told the adapter's name.
      return { ...info, device: kind, threads: 1 + helping, adapter: info.adapter || name, url: source.key, load_ms: performance.now() - begun };
    } catch (error) {
      // The engine knows only that a chunk could not be read; the loader knows why.
      throw readFailure ?? error;
    } finally {
      end.abort();
      started?.();
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

/** What a panic in Rust ends in; a thread may have no WebAssembly at all. */
export function isCrash(error: unknown): boolean {
  return typeof WebAssembly !== "undefined" && error instanceof WebAssembly.RuntimeError;
}
