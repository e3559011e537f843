import { sleep, unlessAborted } from "../basics/abort.js";
import { aborted, EngineCrashed, fromPlain, DeviceFailed, GpuLost, DeviceOutOfMemory, LlavaError } from "../basics/errors.js";
import type { LoadProgress, ModelInfo } from "../basics/info.js";
import type { EngineImage } from "../input/pixels.js";
import { isWorker, type Assets } from "./assets.js";
import { EngineClient } from "./client.js";
import type { MemoryLimit } from "./memory-limit.js";
import { askToPersist } from "./persist.js";
import type { EngineOutput, Event, GenerateRequest, LoadRequest } from "./protocol.js";
import { Replay } from "./replay.js";

/** How often one request survives the loss of the GPU: whatever ends it three times would end it again. */
const RECOVERIES = 2;
/** Pauses, in ms, before the tries to load the model again: a driver that starts anew has no adapter for a moment. */
const PAUSES = [0, 1000, 3000];

/** What it takes to load a model, also for a second time. */
export interface LoadPlan {
  assets: Pick<Assets, "worker" | "engine">;
  request: Omit<LoadRequest, "picture" | "memory_limit" | "chosen">;
  /** What it throws ends the load, or the request that needs it. */
  onWarning: (error: LlavaError) => void;
}

/** What concerns the first load alone. */
export interface FirstLoad {
  picture: EngineImage | undefined;
  memory_limit: MemoryLimit | undefined;
  onProgress: (progress: LoadProgress) => void;
  signal: AbortSignal | undefined;
}

interface Running {
  client: EngineClient;
  info: Readonly<ModelInfo>;
}

/**
 * An engine that outlives its GPU. Where the GPU is lost (the driver crashed, the computer slept, the browser's GPU process was
 * killed), a new engine is loaded from the store by the request that runs, or else by the next one; the request begins again there,
 * and what was told of its answer is not told twice. A request for which the GPU has no room fails, as it would again; the engine, whose
 * allocator may hold buffers that are none, ends with it, and the next request loads a new one.
 *
 * The same seed and the same kernels give the same answer, so nobody sees a difference. But a greedy request may have reused rows
 * that an earlier answer's decoding had written, whose rounding may decide between two words that are nearly as likely; an answer that
 * comes out otherwise is given up with an error, never told in two halves that do not belong together.
 */
export class RecoveringEngine {
  #plan: LoadPlan;
  #running: Running;
  #reloading: Promise<Running> | undefined;
  /** Settles when the request before has; one that waits here was not interrupted by what befalls the one before. */
  #line: Promise<unknown> = Promise.resolve();
  #end = new AbortController();

  private constructor(plan: LoadPlan, running: Running) {
    this.#plan = plan;
    this.#running = running;
  }

  /**
   * Loads the model. Where a GPU was not asked for, and the one that is there fails, the model is loaded on the CPU; else that is an
   * error, and `load` may be called again.
   */
  static async load(plan: LoadPlan, { picture, memory_limit, onProgress, signal }: FirstLoad): Promise<RecoveringEngine> {
    const request = { ...plan.request, picture, memory_limit, chosen: undefined };
    try {
      return new RecoveringEngine(plan, await start(plan, request, onProgress, signal));
    } catch (error) {
      const { code, message } = error as LlavaError;
      const mayBeTheGpu = code === "gpu" || error instanceof EngineCrashed;
      if (!mayBeTheGpu || request.device !== "auto" || !canMakeAnother(plan)) throw error;
      plan.onWarning(new LlavaError("gpu", `${message} The model is loaded on the CPU.`, { cause: error }));
      return new RecoveringEngine(plan, await start(plan, { ...request, device: "cpu" }, onProgress, signal));
    }
  }

  /** What the model and the GPU are: those of now, after a loss. */
  get info(): Readonly<ModelInfo> {
    return this.#running.info;
  }

  /** Why no further request is taken; a GPU that failed is no reason where a new engine can be made. */
  get ended(): LlavaError | undefined {
    if (this.#end.signal.aborted) return this.#end.signal.reason as LlavaError;
    const { ended } = this.#running.client;
    return ended instanceof DeviceFailed && this.#canReload ? undefined : ended;
  }

  /**
   * Answers a request, after those before it. `onPiece` is told the text as it comes, each piece once. When `signal` fires the
   * promise rejects at once.
   *
   * @throws LlavaError whatever failed in the engine, `aborted`, or the reason of `end`.
   */
  generate(request: GenerateRequest, onPiece: (text: string, tokens: number) => void, signal?: AbortSignal): Promise<EngineOutput> {
    const answer = this.#line.then(() => this.#answer(request, new Replay(onPiece), signal));
    this.#line = answer.catch(() => undefined);
    return unlessAborted(answer, signal);
  }

  /** Ends the engine, and with it the GPU memory it holds. Requests under way, and waiting ones, reject with `reason`. */
  end(reason: LlavaError): void {
    this.#end.abort(reason);
    this.#running.client.end(reason);
  }

  async #answer(request: GenerateRequest, replay: Replay, signal: AbortSignal | undefined): Promise<EngineOutput> {
    for (let losses = 0; ; losses++) {
      if (this.#end.signal.aborted) throw this.#end.signal.reason;
      if (signal?.aborted) throw aborted(signal);
      try {
        const { client } = await unlessAborted(this.#alive(), signal);
        return await answerOnce(client, request, replay, signal);
      } catch (error) {
        if (!(error instanceof GpuLost) || !this.#canReload) throw error;
        if (losses === RECOVERIES) throw lostAgain(error);
      }
    }
  }

  /** The engine; a new one where its GPU has failed. All who ask meanwhile get the same, and who does not wait any more does not end it. */
  #alive(): Promise<Running> {
    const { ended } = this.#running.client;
    if (!(ended instanceof DeviceFailed) || !this.#canReload) return Promise.resolve(this.#running);
    this.#reloading ??= this.#reload(ended).finally(() => (this.#reloading = undefined));
    return this.#reloading;
  }

  async #reload(failed: DeviceFailed): Promise<Running> {
    const { onWarning, request } = this.#plan;
    const then = failed instanceof DeviceOutOfMemory ? "for the next request" : "and the request goes on";
    onWarning(new LlavaError(failed.code, `${failed.what} The model is loaded again, ${then}.`, { cause: failed }));
    const { device, adapter, variants } = this.#running.info;
    // The version that has answered so far; no server need be asked for it.
    const again = { ...request, device, update: false, picture: undefined, memory_limit: undefined, chosen: { adapter, variants } };
    let failure: unknown;
    for (const pause of PAUSES) {
      try {
        await sleep(pause, this.#end.signal);
        return (this.#running = await start(this.#plan, again, undefined, this.#end.signal));
      } catch (error) {
        if (this.#end.signal.aborted) throw this.#end.signal.reason;
        if (error instanceof GpuLost) throw error;
        failure = error;
        if ((error as LlavaError).code !== "webgpu_unavailable") break;
      }
    }
    // A browser whose GPU failed more than once gives none any more: then it is chosen anew what `auto` comes to.
    if (request.device === "auto" && (failure as LlavaError).code === "webgpu_unavailable") {
      return (this.#running = await start(this.#plan, { ...again, device: "auto" }, undefined, this.#end.signal));
    }
    throw new LlavaError("gpu", `${failed.what} The model could not be loaded again: ${(failure as LlavaError).message}`, { cause: failure });
  }

  get #canReload(): boolean {
    return canMakeAnother(this.#plan);
  }
}

/** A Worker that the caller has made is gone with its engine. */
function canMakeAnother({ assets }: LoadPlan): boolean {
  return !isWorker(assets.worker);
}

async function start(plan: LoadPlan, request: LoadRequest, onProgress: FirstLoad["onProgress"] | undefined, signal: AbortSignal | undefined): Promise<Running> {
  const persisted = askToPersist();
  const client = await EngineClient.open(plan.assets, signal);
  try {
    const onEvent = (event: Event) => {
      if (event.type === "progress") onProgress?.(event.progress);
      if (event.type === "warning") plan.onWarning(fromPlain(event.error));
    };
    const info = await client.request(request, onEvent, signal);
    return { client, info: Object.freeze({ ...info, persisted: await Promise.race([persisted, undefined]) }) };
  } catch (error) {
    client.end(error as LlavaError);
    throw error;
  }
}

/** @throws LlavaError `gpu` where the answer is not the one of which a part was told before. */
async function answerOnce(client: EngineClient, request: GenerateRequest, replay: Replay, signal: AbortSignal | undefined): Promise<EngineOutput> {
  replay.restart();
  const onEvent = (event: Event) => {
    if (event.type === "piece" && !replay.take(event.text, event.tokens)) throw anotherAnswer();
  };
  const output = await client.request(request, onEvent, signal);
  if (!replay.caughtUp) throw anotherAnswer();
  return output;
}

function anotherAnswer(): LlavaError {
  const what = "The GPU was lost in mid-answer, and the answer that began again is not the one that was told so far";
  return new LlavaError("gpu", `${what}: rounding differs, as part of the prompt had been cached, or the model or the GPU is another. Ask again.`);
}

function lostAgain(cause: GpuLost): LlavaError {
  const cure = "Close other tabs and programs that use the GPU, or take a smaller model, and ask again.";
  return new LlavaError("gpu", `${cause.what} It was lost ${RECOVERIES + 1} times during one request. ${cure}`, { cause });
}
