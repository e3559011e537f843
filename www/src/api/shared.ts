import { unlessAborted } from "../basics/abort.js";
import { callback } from "../basics/callback.js";
import { aborted, LlavaError } from "../basics/errors.js";
import type { LoadProgress, Precision } from "../basics/info.js";
import { later } from "../basics/host.js";
import { needsBrowser } from "../engine/browser.js";
import type { DeviceChoice } from "../engine/choice.js";
import { readImage } from "../input/image.js";
import { checkInput, type Input } from "../input/input.js";
import type { EngineImage } from "../input/pixels.js";
import { checkDevice, chosenDevice } from "./configure.js";
import { modelUrl } from "./model-url.js";
import { checkPrecision, Model, type LoadOptions, type RunOptions } from "./model.js";
import type { Result } from "./result.js";

/** Options of a load that several callers may wait for. */
export type SharedLoadOptions = Pick<LoadOptions, "device" | "precision" | "onProgress" | "signal">;

/** The names of these, and of what concerns the answer. */
export const SHARED_OPTIONS = ["device", "precision", "onProgress", "signal", "onToken"];

/** Options of all loads of a `SharedModels`. */
export type CommonLoadOptions = Omit<LoadOptions, "signal" | "onProgress">;

interface Entry {
  model: Promise<Model>;
  loaded: Model | undefined;
  stop: AbortController;
  /** The picture of the call that began the load, which fails if it cannot be read. */
  picture: EngineImage | undefined;
  /** Calls that wait for the model, or use it. */
  users: number;
  listeners: Set<(progress: LoadProgress) => void>;
  /** Frees the model after a time without users. */
  timer: ReturnType<typeof setTimeout> | undefined;
}

const DISPOSED = "The model was disposed of while it was loaded.";

/** Models that are loaded once and used by many calls. A load that failed, or a model that ended, is loaded anew. */
export class SharedModels {
  #entries = new Map<string, Entry>();
  #options: CommonLoadOptions;
  /** Grows with each `dispose()`. */
  #disposals = 0;
  #idleTimeout: () => number | undefined;

  /** `idleTimeout`: milliseconds after which a model without users is freed; asked after each use. */
  constructor(options: CommonLoadOptions = {}, idleTimeout: () => number | undefined = () => undefined) {
    this.#options = options;
    this.#idleTimeout = idleTimeout;
  }

  /**
   * Runs `work` with the model behind `url`, which is loaded for `picture`, if it is not there yet. The load stops when the signals of
   * all who wait for it have fired.
   */
  async use<T>(url: string | URL, picture: EngineImage | undefined, options: SharedLoadOptions, work: (model: Model) => Promise<T>): Promise<T> {
    const { onProgress, signal } = options;
    // As `load` would take it: what is asked for in several ways is one model.
    const device = chosenDevice(options.device ?? this.#options.device);
    if (signal?.aborted) throw aborted(signal);
    const { precision = this.#options.precision } = options;
    const entry = this.#entry(modelUrl(url), { device, precision }, picture);
    clearTimeout(entry.timer);
    entry.users++;
    let loaded: Model;
    try {
      loaded = entry.loaded ?? (await this.#wait(entry, onProgress, signal));
    } catch (error) {
      this.#leave(entry);
      // Another call's picture is no reason for this one to fail.
      const theirs = entry.picture !== picture && ["bad_image", "too_large"].includes((error as LlavaError).code);
      if (theirs) return this.use(url, picture, options, work);
      throw error;
    }
    try {
      return await work(loaded);
    } finally {
      this.#leave(entry);
    }
  }

  /** Disposes of every model; loads under way reject with code `disposed`. */
  dispose(): void {
    this.#disposals++;
    for (const entry of this.#entries.values()) this.#free(entry);
  }

  /** A check that `dispose()` was not called since now: for calls that have not come to their model yet. */
  watch(): () => void {
    const before = this.#disposals;
    return () => {
      if (this.#disposals !== before) throw new LlavaError("disposed", DISPOSED);
    };
  }

  async #wait(entry: Entry, onProgress: SharedLoadOptions["onProgress"], signal: AbortSignal | undefined): Promise<Model> {
    // What one caller's callback throws is no reason for another's call to fail.
    let fail: (error: unknown) => void;
    const failed = new Promise<never>((_, reject) => (fail = reject));
    const tell = callback("onProgress", onProgress);
    const listener = (progress: LoadProgress) => {
      try {
        tell(progress);
      } catch (error) {
        fail(error);
      }
    };
    entry.listeners.add(listener);
    try {
      return await Promise.race([unlessAborted(entry.model, signal), failed]);
    } catch (error) {
      const { reason } = entry.stop.signal;
      throw reason instanceof LlavaError ? reason : error;
    } finally {
      entry.listeners.delete(listener);
    }
  }

  #leave(entry: Entry): void {
    entry.users--;
    if (entry.users === 0) this.#idle(entry);
  }

  /** Nobody uses the model any more: a load under way stops, a loaded model may be freed later. */
  #idle(entry: Entry): void {
    const timeout = this.#idleTimeout();
    if (!entry.loaded) this.#free(entry, aborted());
    else if (timeout !== undefined) entry.timer = later(() => this.#free(entry), timeout);
  }

  #free(entry: Entry, reason = new LlavaError("disposed", DISPOSED)): void {
    clearTimeout(entry.timer);
    entry.stop.abort(reason);
    entry.loaded?.dispose();
    this.#forget(entry);
  }

  #entry(url: string, options: { device: DeviceChoice; precision: Precision | undefined }, picture: EngineImage | undefined): Entry {
    const key = JSON.stringify([url, options]);
    const known = this.#entries.get(key);
    if (known && !known.loaded?.ended) return known;
    const listeners: Entry["listeners"] = new Set();
    const stop = new AbortController();
    const model = Model.loadFor(picture, url, {
      ...this.#options,
      ...options,
      signal: stop.signal,
      onProgress: (progress) => listeners.forEach((listener) => listener(progress)),
    });
    const entry: Entry = { model, loaded: undefined, stop, picture, users: 0, listeners, timer: undefined };
    this.#entries.set(key, entry);
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
    for (const [key, known] of this.#entries) if (known === entry) this.#entries.delete(key);
  }
}

/** Answers `input` with the model behind `url`. What is wrong with the input is told before anything is fetched. */
export async function runShared(models: SharedModels, url: string | URL, input: Input, options: RunOptions & SharedLoadOptions): Promise<Result> {
  const { device, precision, onProgress, signal, onToken } = options;
  modelUrl(url);
  checkDevice(device);
  checkPrecision(precision);
  const { image, fields } = checkInput(input);
  needsBrowser(); // before the picture is looked for: a server that renders a page has no use for it
  const checkAlive = models.watch();
  const picture = image === undefined ? undefined : await readImage(image, signal);
  checkAlive();
  return models.use(url, picture, { device, precision, onProgress, signal }, (model) => model.answer(picture, fields, { signal, onToken }));
}
