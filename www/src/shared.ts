import { checkDecodable } from "./decode.js";
import { aborted, LlavaError } from "./errors.js";
import { noBrowser } from "./gpu.js";
import { readImage } from "./image.js";
import type { LoadProgress } from "./info.js";
import { checkInput, type Input } from "./input.js";
import { modelUrl } from "./model-url.js";
import { Model, type LoadOptions, type Result, type RunOptions } from "./model.js";

/** Options of a load that several callers may wait for. */
export type SharedLoadOptions = Pick<LoadOptions, "onProgress" | "signal">;

/** Options of all loads of a `SharedModels`. */
export type CommonLoadOptions = Omit<LoadOptions, "signal" | "onProgress">;

interface Entry {
  model: Promise<Model>;
  loaded: Model | undefined;
  stop: AbortController;
  /** Calls that wait for the model, or use it. */
  users: number;
  listeners: Set<(progress: LoadProgress) => void>;
  /** Frees the model after a time without users. */
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Models that are loaded once and used by many calls. A load that failed, or a model that ended, is loaded anew. */
export class SharedModels {
  #entries = new Map<string, Entry>();
  #options: CommonLoadOptions;
  #idleTimeout: () => number | undefined;

  /** `idleTimeout`: milliseconds after which a model without users is freed; asked after each use. */
  constructor(options: CommonLoadOptions = {}, idleTimeout: () => number | undefined = () => undefined) {
    this.#options = options;
    this.#idleTimeout = idleTimeout;
  }

  /** Runs `work` with the model behind `url`. Its load stops when the signals of all who wait for it have fired. */
  async use<T>(url: string | URL, { onProgress, signal }: SharedLoadOptions, work: (model: Model) => Promise<T>): Promise<T> {
    if (signal?.aborted) throw aborted(signal);
    const entry = this.#entry(modelUrl(url));
    clearTimeout(entry.timer);
    entry.users++;
    try {
      return await work(entry.loaded ?? (await this.#wait(entry, onProgress, signal)));
    } finally {
      entry.users--;
      if (entry.users === 0) this.#idle(entry);
    }
  }

  /** Whether the model behind `url` is there, so that nothing has to be fetched for it. */
  has(url: string | URL): boolean {
    const entry = this.#entries.get(modelUrl(url));
    return entry?.loaded !== undefined && !entry.loaded.ended;
  }

  /** Disposes of every model; loads under way reject with code `disposed`. */
  dispose(): void {
    for (const entry of this.#entries.values()) this.#free(entry);
  }

  async #wait(entry: Entry, onProgress: SharedLoadOptions["onProgress"], signal: AbortSignal | undefined): Promise<Model> {
    if (onProgress) entry.listeners.add(onProgress);
    let onAbort: (() => void) | undefined;
    try {
      const stopped = new Promise<never>((_, reject) => {
        onAbort = () => reject(aborted(signal));
        signal?.addEventListener("abort", onAbort);
      });
      return await Promise.race([entry.model, stopped]);
    } catch (error) {
      const { reason } = entry.stop.signal;
      throw reason instanceof LlavaError ? reason : error;
    } finally {
      signal?.removeEventListener("abort", onAbort!);
      if (onProgress) entry.listeners.delete(onProgress);
    }
  }

  /** Nobody uses the model any more: a load under way stops, a loaded model may be freed later. */
  #idle(entry: Entry): void {
    const timeout = this.#idleTimeout();
    if (!entry.loaded) this.#free(entry, aborted());
    else if (timeout !== undefined) entry.timer = setTimeout(() => this.#free(entry), timeout);
  }

  #free(entry: Entry, reason = new LlavaError("disposed", "The model was disposed of while it was loaded.")): void {
    clearTimeout(entry.timer);
    entry.stop.abort(reason);
    entry.loaded?.dispose();
    this.#forget(entry);
  }

  #entry(url: string): Entry {
    const known = this.#entries.get(url);
    if (known && !known.loaded?.ended) return known;
    const listeners: Entry["listeners"] = new Set();
    const stop = new AbortController();
    const model = Model.load(url, {
      ...this.#options,
      signal: stop.signal,
      onProgress: (progress) => listeners.forEach((listener) => listener(progress)),
    });
    const entry: Entry = { model, loaded: undefined, stop, users: 0, listeners, timer: undefined };
    this.#entries.set(url, entry);
    model.then(
      (loaded) => {
        entry.loaded = loaded;
        if (stop.signal.aborted) loaded.dispose(); // it was too late to stop
      },
      () => this.#forget(entry),
    );
    return entry;
  }

  #forget(entry: Entry): void {
    for (const [url, known] of this.#entries) if (known === entry) this.#entries.delete(url);
  }
}

/** Answers `input` with the model behind `url`. What is wrong with the input is told before anything is fetched. */
export async function runShared(models: SharedModels, url: string | URL, input: Input, options: RunOptions & SharedLoadOptions): Promise<Result> {
  const { onProgress, signal, onToken } = options;
  modelUrl(url);
  const { image, fields } = checkInput(input);
  noBrowser(); // before the picture is looked for: a server that renders a page has no use for it
  const picture = image === undefined ? undefined : await readImage(image, signal);
  if (picture && !models.has(url)) await checkDecodable(picture);
  return models.use(url, { onProgress, signal }, (model) => model.answer(picture, fields, { signal, onToken }));
}
