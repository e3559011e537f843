import { aborted } from "./errors.js";
import { Model, type LoadOptions } from "./model.js";
import type { LoadProgress } from "./protocol.js";
import { modelUrl } from "./url.js";

/** Options of a load that several callers may wait for. */
export type SharedLoadOptions = Pick<LoadOptions, "onProgress" | "signal">;

interface Entry {
  model: Promise<Model>;
  loaded: Model | undefined;
  stop: AbortController;
  waiting: number;
  listeners: Set<(progress: LoadProgress) => void>;
}

/** Models that are loaded once and used by many calls. A load that failed, or a model that ended, is loaded anew. */
export class SharedModels {
  #entries = new Map<string, Entry>();
  #options: Omit<LoadOptions, "signal" | "onProgress">;

  constructor(options: Omit<LoadOptions, "signal" | "onProgress"> = {}) {
    this.#options = options;
  }

  /** The model behind `url`. The load stops when the signals of all who wait for it have fired. */
  async get(url: string | URL, { onProgress, signal }: SharedLoadOptions = {}): Promise<Model> {
    if (signal?.aborted) throw aborted(signal);
    const entry = this.#entry(modelUrl(url));
    if (entry.loaded) return entry.loaded;
    entry.waiting++;
    if (onProgress) entry.listeners.add(onProgress);
    let onAbort: (() => void) | undefined;
    try {
      const stopped = new Promise<never>((_, reject) => {
        onAbort = () => reject(aborted(signal));
        signal?.addEventListener("abort", onAbort);
      });
      return await Promise.race([entry.model, stopped]);
    } finally {
      if (onAbort) signal?.removeEventListener("abort", onAbort);
      if (onProgress) entry.listeners.delete(onProgress);
      entry.waiting--;
      if (entry.waiting === 0 && !entry.loaded) {
        this.#forget(entry);
        entry.stop.abort();
      }
    }
  }

  /** Disposes of every model. */
  dispose(): void {
    for (const entry of this.#entries.values()) {
      entry.stop.abort();
      entry.loaded?.dispose();
    }
    this.#entries.clear();
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
    const entry: Entry = { model, loaded: undefined, stop, waiting: 0, listeners };
    this.#entries.set(url, entry);
    model.then(
      (loaded) => (entry.loaded = loaded),
      () => this.#forget(entry),
    );
    return entry;
  }

  #forget(entry: Entry): void {
    for (const [url, known] of this.#entries) if (known === entry) this.#entries.delete(url);
  }
}
