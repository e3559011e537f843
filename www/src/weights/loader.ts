import { LlavaError, toLlavaError } from "../basics/errors.js";
import type { LoadProgress } from "../basics/info.js";
import { megabytes } from "../basics/naming.js";
import { sha256 } from "../basics/sha256.js";
import { Budget } from "./budget.js";
import { evictModel, holdModel, withFile } from "./locks.js";
import { filesOf, parseManifest, type BundleFile, type Manifest } from "./manifest.js";
import { Progress } from "./progress.js";
import type { Source } from "./source.js";
import { openSource, type SourceAddress } from "./sources.js";
import { openStore, type ModelRecord, type Store } from "./store.js";

/** Chunks that are asked for ahead of the engine; also the most that are in memory. */
const WINDOW = 6;
/**
 * Bytes that may have come and not yet be stored, which is what a crash costs. So all of the window come at once, and where chunks are
 * large the later ones wait in mid-way for the earlier ones to be stored.
 */
const AT_RISK = 64 * 1024 * 1024;
/** Bytes that a browser hands over at once at most; Chromium's largest buffer between its network process and a page. */
const PIECE = 2 * 1024 * 1024;
/** How long the browser may take to free the room of a deleted model, in ms. */
const FREEING = 10_000;

export interface LoaderOptions {
  signal: AbortSignal;
  onProgress: (progress: LoadProgress) => void;
  /** Told what went wrong without stopping the load: no storage, no room, a damaged file, a server that is down. */
  onWarning: (error: LlavaError) => void;
  /** Whether the server is asked for a new version of a model that is stored whole. */
  update?: boolean;
  /** Whether other models may be deleted from a store that is full. */
  evict?: boolean;
}

/** A model whose files come from the store, or from their source by way of it. */
export class Loader {
  readonly manifestText: string;
  readonly manifest: Manifest;
  /** The model's name in the store. */
  #key: string;
  #source: Source;
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
  #unsaved: Budget;
  #evicting: Promise<boolean> | undefined;
  #release: (() => void) | undefined;

  private constructor(key: string, source: Source, manifestText: string, manifest: Manifest, store: Store | undefined, stored: Set<string>, progress: Progress, options: LoaderOptions) {
    this.#key = key;
    this.#source = source;
    this.manifestText = manifestText;
    this.manifest = manifest;
    this.#files = filesOf(manifest);
    const largest = Math.max(...manifest.chunks.map(({ bytes }) => bytes));
    this.#unsaved = new Budget(AT_RISK - largest); // the first goes on above that
    this.#store = store;
    this.#stored = stored;
    this.#progress = progress;
    this.#options = options;
  }

  /**
   * Opens the model at `address`. Where it is stored whole, in the version that the address names, nothing is requested, but
   * for `update`; else the manifest comes from its source, or the stored one if that fails.
   *
   * @throws LlavaError `no_such_model`, `network`, `bad_bundle` or `aborted`.
   */
  static async open(address: SourceAddress, options: LoaderOptions): Promise<Loader> {
    const progress = new Progress(options.onProgress);
    const { key } = address;
    const source = openSource(address);
    const store = source.near ? undefined : await openStoreOrWarn(options);
    const release = store && (await holdModel(key));
    const stored = (await store?.hashes()) ?? new Set();
    const known = await knownModel(store, key);
    const whole = known?.state === "ready" && known.files.every(({ sha256 }) => stored.has(sha256));
    const here = whole && !options.update && (await isCurrent(known, address)) ? readStored(known) : undefined;
    const [text, manifest] = here ?? (await readManifest(address, known, options));
    const loader = new Loader(key, source, text, manifest, store, stored, progress, options);
    loader.#release = release;
    if (known?.manifest !== text) await loader.#record("partial");
    progress.plan(manifest.total_bytes, loader.#storedBytes());
    return loader;
  }

  /** The tokenizer.json of each model. */
  tokenizers(): Promise<string[]> {
    const read = async (_: BundleFile, index: number) => {
      const bytes = await this.#read(index);
      this.#progress.handed(bytes.length);
      return new TextDecoder().decode(bytes);
    };
    return Promise.all(this.manifest.tokenizers.map(read));
  }

  /** A chunk's verified bytes. The ones that follow are fetched meanwhile, a few at once. */
  async chunk(index: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#next = Math.max(this.#next, index);
    const { chunks, tokenizers } = this.manifest;
    const end = Math.min(index + WINDOW, chunks.length);
    for (; this.#next < end; this.#next++) {
      const coming = this.#read(tokenizers.length + this.#next);
      coming.catch(() => undefined); // reported when the engine asks for this chunk
      this.#coming.set(this.#next, coming);
    }
    const bytes = await (this.#coming.get(index) ?? this.#read(tokenizers.length + index));
    if (this.#coming.delete(index)) this.#progress.handed(bytes.length);
    return bytes;
  }

  /** The engine has all it needs: reports that, and writes the record that says so, after the data. Never rejects. */
  async finish(): Promise<void> {
    this.#progress.compiling();
    const complete = this.#files.every(({ sha256 }) => this.#stored.has(sha256));
    await this.#record(complete ? "ready" : "partial");
    this.#store?.close();
    this.#release?.();
  }

  /** File `index` of the bundle, from the store if it is there and sound. */
  async #read(index: number): Promise<Uint8Array<ArrayBuffer>> {
    const file = this.#files[index];
    if (!file) throw new LlavaError("bad_bundle", `There is no chunk ${index - this.manifest.tokenizers.length}.`);
    return (await this.#fromStore(file)) ?? (await this.#fromNetwork(index, file));
  }

  async #fromStore(file: BundleFile): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (!this.#store || !this.#stored.has(file.sha256)) return undefined;
    const bytes = await readSound(this.#store, file);
    if (bytes) return bytes;
    this.#stored.delete(file.sha256);
    this.#progress.damaged(file.bytes);
    this.#options.onWarning(new LlavaError("storage", `The stored copy of ${file.file} is damaged; it is fetched again.`));
    return undefined;
  }

  /**
   * Tabs that load the same file take turns: the second one finds it in the store, or carries on where the first one
   * was closed.
   */
  async #fromNetwork(index: number, file: BundleFile): Promise<Uint8Array<ArrayBuffer>> {
    const store = this.#keeping ? this.#store : undefined;
    if (!store) return this.#fetch(index, file);
    return withFile(file.sha256, this.#options.signal, async () => {
      const bytes = await readSound(store, file);
      if (!bytes) return this.#fetch(index, file);
      this.#stored.add(file.sha256);
      this.#progress.received(index, bytes.length);
      return bytes;
    });
  }

  async #fetch(index: number, file: BundleFile): Promise<Uint8Array<ArrayBuffer>> {
    const holder = {};
    try {
      const bytes = await this.#source.file(file, {
        signal: this.#options.signal,
        onBytes: (received) => {
          this.#progress.received(index, received);
          return this.#unsaved.hold(holder, Math.min(received + PIECE, file.bytes)); // with what the next read may bring
        },
      });
      await this.#keep(async (store) => {
        await store.put(file.sha256, bytes);
        this.#stored.add(file.sha256);
      });
      return bytes;
    } finally {
      this.#unsaved.giveBack(holder);
    }
  }

  async #record(state: ModelRecord["state"]): Promise<void> {
    const { name } = this.manifest;
    const record = { url: this.#key, state, name, manifest: this.manifestText, files: this.#files, last_used: Date.now() };
    await this.#keep((store) => store.putModel(record));
  }

  /** Writes to the store; when it is full or fails, the rest of the load does without. */
  async #keep(write: (store: Store) => Promise<void>): Promise<void> {
    const store = this.#store;
    while (store && this.#keeping) {
      try {
        return await write(store);
      } catch (error) {
        const failure = toLlavaError(error, "storage");
        const full = failure.code === "quota_exceeded";
        if (full && this.#options.evict && (await (this.#evicting ??= this.#makeRoom(store)))) continue;
        if (!this.#keeping) return; // another chunk has met the same failure
        this.#keeping = false;
        this.#options.onWarning(full ? this.#noRoom(failure) : failure);
      }
    }
  }

  /** Evicts one model and waits until the browser has freed its room; false where there is none to evict. */
  async #makeRoom(store: Store): Promise<boolean> {
    try {
      const before = await store.usage();
      const evicted = await evictModel(store);
      if (!evicted) return false;
      const { name, url } = evicted;
      this.#options.onWarning(new LlavaError("quota_exceeded", `The stored model ${name} (${url}) was deleted to make room.`));
      for (let waited = 0; waited < FREEING && (await store.usage()) >= before; waited += 100) await pause(100);
      return true;
    } finally {
      this.#evicting = undefined;
    }
  }

  #noRoom(cause: LlavaError): LlavaError {
    const { name, total_bytes } = this.manifest;
    const here = this.#storedBytes();
    const message =
      `The store is full: ${megabytes(total_bytes - here)} more are needed to keep ${name}; ` +
      `the ${megabytes(here)} of it that are stored stay usable, and the rest is fetched again at the next load. ` +
      "Free some with models.delete(url) or load with `evict: true`, or free disk space.";
    return new LlavaError("quota_exceeded", message, { cause });
  }

  #storedBytes(): number {
    return this.#files.reduce((sum, { sha256, bytes }) => sum + (this.#stored.has(sha256) ? bytes : 0), 0);
  }
}

async function openStoreOrWarn({ onWarning }: LoaderOptions): Promise<Store | undefined> {
  try {
    return await openStore();
  } catch (error) {
    onWarning(toLlavaError(error, "storage"));
    return undefined;
  }
}

/** What is known of the model at `url`: the version that is stored whole, else the one that was begun. */
export async function knownModel(store: Store | undefined, url: string): Promise<ModelRecord | undefined> {
  const records = (await store?.models())?.filter((record) => record.url === url) ?? [];
  return records.find(({ state }) => state === "ready") ?? records[0];
}

/** Whether the stored version is the one that the address names, if it names one. */
async function isCurrent({ manifest }: ModelRecord, { manifest_sha256 }: SourceAddress): Promise<boolean> {
  return manifest_sha256 === undefined || (await sha256(new TextEncoder().encode(manifest))) === manifest_sha256;
}

/** The stored manifest; undefined where it is one that this version of the package does not read. */
function readStored({ url, manifest }: ModelRecord): [string, Manifest] | undefined {
  try {
    return [manifest, parseManifest(manifest, url)];
  } catch {
    return undefined;
  }
}

/**
 * A stored file. Its hash is checked on every read, several files at once and off this thread: damage would else only
 * show as wrong answers.
 */
async function readSound(store: Store, file: BundleFile): Promise<Uint8Array<ArrayBuffer> | undefined> {
  // A read may fail for a single file, as when the browser lost the one on disk.
  const bytes = await store.get(file.sha256).catch(() => undefined);
  return bytes?.length === file.bytes && (await sha256(bytes)) === file.sha256 ? bytes : undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The manifest from its source; from `known` where that fails or gives something else. */
export async function readManifest(
  address: SourceAddress,
  known: ModelRecord | undefined,
  { signal, onWarning }: Pick<LoaderOptions, "signal" | "onWarning">,
): Promise<[string, Manifest]> {
  const source = openSource(address);
  const { where } = source;
  try {
    // With a stored copy at hand there is no point in waiting for a server that is down.
    const text = await source.manifest({ signal, ...(known && { tries: 1, patience: 5_000 }) });
    return [text, parseManifest(text, where)];
  } catch (error) {
    if (signal.aborted) throw error;
    if (!known) throw withCure(error, source);
    const { message } = toLlavaError(error, "network");
    onWarning(new LlavaError("network", `The stored copy of the model is used. ${message}`, { cause: error }));
    return [known.manifest, parseManifest(known.manifest, where)];
  }
}

function withCure(error: unknown, source: Source): LlavaError {
  const failure = toLlavaError(error, "network");
  if (failure.code !== "no_such_model" && failure.code !== "bad_bundle") return failure;
  return new LlavaError(failure.code, failure.message + source.absenceCure(), { cause: error });
}
