import { fetchFile, fetchText, sha256 } from "./download.js";
import { LlavaError, toLlavaError } from "./errors.js";
import { filesOf, parseManifest, type BundleFile, type Manifest } from "./manifest.js";
import { Progress } from "./progress.js";
import type { LoadProgress } from "./protocol.js";
import { openStore, type ModelRecord, type Store } from "./store.js";

/** Chunks that are fetched or read at once, ahead of the engine; also the most that are in memory. */
const WINDOW = 4;

export interface LoaderOptions {
  signal: AbortSignal;
  onProgress: (progress: LoadProgress) => void;
  /** Told what went wrong without stopping the load: no storage, no room, a damaged file, a server that is down. */
  onWarning: (error: LlavaError) => void;
}

/** A bundle whose files come from the store, or from the network by way of it. */
export class Loader {
  readonly manifestText: string;
  #url: string;
  #manifest: Manifest;
  #files: BundleFile[];
  #store: Store | undefined;
  #stored: Set<string>;
  /** Whether files are still written to the store: not after it was found full or failing. */
  #keeping = true;
  #progress: Progress;
  #options: LoaderOptions;
  /** Chunks on their way, by index; a chunk leaves when it is handed to the engine. */
  #coming = new Map<number, Promise<Uint8Array<ArrayBuffer>>>();
  /** First chunk that was never asked for. */
  #next = 0;

  private constructor(url: string, manifestText: string, manifest: Manifest, store: Store | undefined, stored: Set<string>, progress: Progress, options: LoaderOptions) {
    this.#url = url;
    this.manifestText = manifestText;
    this.#manifest = manifest;
    this.#files = filesOf(manifest);
    this.#store = store;
    this.#stored = stored;
    this.#progress = progress;
    this.#options = options;
  }

  /**
   * Opens the bundle at `url` (ends with a slash): the manifest from the network, or the stored one if that fails.
   *
   * @throws LlavaError `no_such_model`, `network`, `bad_bundle` or `aborted`.
   */
  static async open(url: string, options: LoaderOptions): Promise<Loader> {
    const progress = new Progress(options.onProgress);
    const store = await openStore().catch((error: unknown) => {
      options.onWarning(toLlavaError(error, "storage"));
      return undefined;
    });
    const records = (await store?.models())?.filter((record) => record.url === url) ?? [];
    const known = records.find(({ state }) => state === "ready") ?? records[0];
    const [text, manifest] = await readManifest(url, known, options);
    const stored = (await store?.hashes()) ?? new Set();
    const loader = new Loader(url, text, manifest, store, stored, progress, options);
    if (known?.manifest !== text) await loader.#record("partial");
    const here = loader.#files.filter((file) => stored.has(file.sha256));
    progress.plan(manifest.total_bytes, here.reduce((sum, { bytes }) => sum + bytes, 0));
    return loader;
  }

  /** The formats of the weights, as the manifest names them. */
  get quantization(): string {
    return this.#manifest.quantization;
  }

  /** tokenizer.json. */
  async tokenizer(): Promise<string> {
    const bytes = await this.#read(0);
    this.#progress.handed(bytes.length);
    return new TextDecoder().decode(bytes);
  }

  /** A chunk's verified bytes. The ones that follow are fetched meanwhile, a few at once. */
  async chunk(index: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#next = Math.max(this.#next, index);
    const end = Math.min(index + WINDOW, this.#manifest.chunks.length);
    for (; this.#next < end; this.#next++) {
      const coming = this.#read(1 + this.#next);
      coming.catch(() => undefined); // reported when the engine asks for this chunk
      this.#coming.set(this.#next, coming);
    }
    const bytes = await (this.#coming.get(index) ?? this.#read(1 + index));
    if (this.#coming.delete(index)) this.#progress.handed(bytes.length);
    return bytes;
  }

  /** The engine has all it needs: reports that, and writes the record that says so, after the data. Never rejects. */
  async finish(): Promise<void> {
    this.#progress.compiling();
    const complete = this.#files.every(({ sha256 }) => this.#stored.has(sha256));
    await this.#record(complete ? "ready" : "partial");
    this.#store?.close();
  }

  /** File `index` of the bundle, from the store if it is there and sound. */
  async #read(index: number): Promise<Uint8Array<ArrayBuffer>> {
    const file = this.#files[index];
    if (!file) throw new LlavaError("bad_bundle", `There is no chunk ${index - 1}.`);
    return (await this.#fromStore(file)) ?? (await this.#fromNetwork(index, file));
  }

  /** The hash is checked on every read, several chunks at once and off this thread: damage would else only show as wrong answers. */
  async #fromStore(file: BundleFile): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (!this.#store || !this.#stored.has(file.sha256)) return undefined;
    // A read may fail for a single file, as when the browser lost the one on disk.
    const bytes = await this.#store.get(file.sha256).catch(() => undefined);
    if (bytes?.length === file.bytes && (await sha256(bytes)) === file.sha256) return bytes;
    this.#stored.delete(file.sha256);
    this.#progress.damaged(file.bytes);
    this.#options.onWarning(new LlavaError("storage", `The stored copy of ${file.file} is damaged; it is fetched again.`));
    return undefined;
  }

  async #fromNetwork(index: number, file: BundleFile): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await fetchFile(new URL(file.file, this.#url), file, {
      signal: this.#options.signal,
      onBytes: (received) => this.#progress.received(index, received),
    });
    await this.#keep(async (store) => {
      await store.put(file.sha256, bytes);
      this.#stored.add(file.sha256);
    });
    return bytes;
  }

  async #record(state: ModelRecord["state"]): Promise<void> {
    const { name } = this.#manifest;
    const record = { url: this.#url, state, name, manifest: this.manifestText, files: this.#files, last_used: Date.now() };
    await this.#keep((store) => store.putModel(record));
  }

  /** Writes to the store; when it is full or fails, the rest of the load does without. */
  async #keep(write: (store: Store) => Promise<void>): Promise<void> {
    if (!this.#store || !this.#keeping) return;
    try {
      await write(this.#store);
    } catch (error) {
      if (!this.#keeping) return; // another chunk has met the same failure
      this.#keeping = false;
      this.#options.onWarning(toLlavaError(error, "storage"));
    }
  }
}

/** manifest.json from the network; from `known` where the network fails or serves something else. */
export async function readManifest(
  url: string,
  known: ModelRecord | undefined,
  { signal, onWarning }: Pick<LoaderOptions, "signal" | "onWarning">,
): Promise<[string, Manifest]> {
  const address = new URL("manifest.json", url);
  try {
    // With a stored copy at hand there is no point in waiting for a server that is down.
    const text = await fetchText(address, { signal, ...(known && { tries: 1, patience: 5_000 }) });
    return [text, parseManifest(text, address.href)];
  } catch (error) {
    if (!known || signal.aborted) throw error;
    const { message } = toLlavaError(error, "network");
    onWarning(new LlavaError("network", `The stored copy of the model is used. ${message}`, { cause: error }));
    return [known.manifest, parseManifest(known.manifest, address.href)];
  }
}
