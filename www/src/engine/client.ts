import { unlessAborted } from "../basics/abort.js";
import { aborted, EngineCrashed, fromPlain, GpuLost, DeviceOutOfMemory, type LlavaError } from "../basics/errors.js";
import type { Assets } from "./assets.js";
import type { Answers, Event, GenerateRequest, LoadRequest, Reply, Thread } from "./protocol.js";
import { openThread } from "./thread.js";

interface Pending {
  resolve: (value: never) => void;
  reject: (error: LlavaError) => void;
  /** Rejects, and stops the engine's work on it. */
  stop: (reason: LlavaError) => void;
  onEvent: (event: Event) => void;
}

/** The page's side of an engine. Every request settles: answered, failed, aborted, or with the engine's end. */
export class EngineClient {
  #thread: Thread | undefined;
  #pending = new Map<number, Pending>();
  #lastId = 0;
  /** Why no further request is taken. */
  #ended: LlavaError | undefined;

  /** Starts an engine. @throws LlavaError as `openThread`, or `aborted`. */
  static async open(assets: Assets, signal?: AbortSignal): Promise<EngineClient> {
    const client = new EngineClient();
    const opening = openThread(assets, {
      onReply: (reply) => client.#receive(reply),
      onFailure: (error) => client.end(error),
    });
    try {
      client.#thread = await unlessAborted(opening, signal);
      return client;
    } catch (error) {
      opening.then((thread) => thread.end(), () => undefined);
      throw error;
    }
  }

  /** Why the engine has ended, if it has. */
  get ended(): LlavaError | undefined {
    return this.#ended;
  }

  /**
   * Sends a request. When `signal` fires, or `onEvent` throws, the promise rejects at once, and the engine stops as soon as the GPU
   * lets it.
   *
   * @throws LlavaError whatever failed in the engine, `aborted`, or what `onEvent` throws.
   */
  request<T extends LoadRequest | GenerateRequest>(
    body: T,
    onEvent: (event: Event) => void,
    signal?: AbortSignal,
  ): Promise<Answers[T["type"]]> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (signal?.aborted) return Promise.reject(aborted(signal));
    const id = ++this.#lastId;
    const stop = (reason: LlavaError) => {
      this.#thread?.post({ type: "abort", id });
      this.#take(id)?.reject(reason);
    };
    const settled = new Promise<Answers[T["type"]]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, stop, onEvent });
    });
    const onAbort = () => stop(aborted(signal));
    signal?.addEventListener("abort", onAbort);
    this.#thread?.post({ ...body, id });
    return settled.finally(() => signal?.removeEventListener("abort", onAbort));
  }

  /** Ends the engine, and with it the GPU memory it holds. Requests under way reject with `reason`. */
  end(reason: LlavaError): void {
    this.#ended ??= reason;
    this.#thread?.end();
    this.#thread = undefined;
    for (const id of [...this.#pending.keys()]) this.#take(id)?.reject(this.#ended);
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #receive(reply: Reply): void {
    switch (reply.type) {
      case "ready":
        break;
      case "crashed":
        this.end(new EngineCrashed(reply.error.code, reply.error.message));
        break;
      case "lost":
        this.end(new GpuLost(reply.what));
        break;
      case "out_of_memory":
        this.end(new DeviceOutOfMemory(reply.what, reply.cure, reply.code));
        break;
      case "done":
        this.#take(reply.id)?.resolve(reply.value as never);
        break;
      case "failed":
        this.#take(reply.id)?.reject(fromPlain(reply.error));
        break;
      default:
        this.#tell(reply);
    }
  }

  #tell(event: Event & { id: number }): void {
    const pending = this.#pending.get(event.id);
    try {
      pending?.onEvent(event);
    } catch (error) {
      pending?.stop(error as LlavaError);
    }
  }
}
