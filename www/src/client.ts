import { aborted, fromPlain, LlavaError } from "./errors.js";
import type { Answers, Event, GenerateRequest, LoadRequest, Reply, Request } from "./protocol.js";

interface Pending {
  resolve: (value: never) => void;
  reject: (error: LlavaError) => void;
  onEvent: (event: Event) => void;
}

/** The page's side of the worker. Every request settles: answered, failed, aborted, or with the worker's end. */
export class EngineClient {
  #worker: Worker;
  #pending = new Map<number, Pending>();
  #lastId = 0;
  /** Why no further request is taken. */
  #ended: LlavaError | undefined;

  constructor() {
    // Bundlers look for exactly this form.
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      const cure = "Serve dist/ and pkg/ side by side, as in the package, scripts as text/javascript and .wasm as application/wasm.";
      this.end(new LlavaError("engine_failed", `The worker does not run${event.message ? ` (${event.message})` : ""}. ${cure}`, { cause: event }));
    };
  }

  /** Why the worker has ended, if it has. */
  get ended(): LlavaError | undefined {
    return this.#ended;
  }

  /**
   * Sends a request. When `signal` fires the promise rejects at once, and the worker stops as soon as the GPU lets it.
   *
   * @throws LlavaError whatever failed in the worker, or `aborted`.
   */
  request<T extends LoadRequest | GenerateRequest>(
    body: T,
    onEvent: (event: Event) => void,
    signal?: AbortSignal,
  ): Promise<Answers[T["type"]]> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (signal?.aborted) return Promise.reject(aborted(signal));
    const id = ++this.#lastId;
    const settled = new Promise<Answers[T["type"]]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onEvent });
    });
    const stop = () => {
      this.#send({ type: "abort", id });
      this.#take(id)?.reject(aborted(signal));
    };
    signal?.addEventListener("abort", stop);
    this.#send({ ...body, id });
    return settled.finally(() => signal?.removeEventListener("abort", stop));
  }

  /** Ends the worker, and with it the GPU memory it holds. Requests under way reject with `reason`. */
  end(reason: LlavaError): void {
    this.#ended ??= reason;
    this.#worker.terminate();
    for (const id of [...this.#pending.keys()]) this.#take(id)?.reject(this.#ended);
  }

  #send(request: Request): void {
    this.#worker.postMessage(request);
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #receive(reply: Reply): void {
    switch (reply.type) {
      case "crashed":
        this.end(fromPlain(reply.error));
        break;
      case "done":
        this.#take(reply.id)?.resolve(reply.value as never);
        break;
      case "failed":
        this.#take(reply.id)?.reject(fromPlain(reply.error));
        break;
      default:
        this.#pending.get(reply.id)?.onEvent(reply);
    }
  }
}
