import type { BundleFile } from "./manifest.js";

/** What is known about a model that was loaded, or begun to be, from `url`. */
export interface ModelRecord {
  url: string;
  /** `partial` while it loads for the first time or in a new version; `ready` once every file was stored. */
  state: "partial" | "ready";
  name: string;
  /** manifest.json as it was served. */
  manifest: string;
  /** The files this model keeps in the store. Which of them are there, only `hashes` says. */
  files: BundleFile[];
  /** Milliseconds since 1970. */
  last_used: number;
}

/** Where files of models are kept between visits, by hash. Several models may share a file. */
export interface Store {
  /** Hashes of all files that are stored. */
  hashes(): Promise<Set<string>>;
  /** A file's bytes, as they are: the reader checks size and hash. */
  get(hash: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** @throws LlavaError `quota_exceeded` when there is no room; what was stored before stays usable. */
  put(hash: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  models(): Promise<ModelRecord[]>;
  /** Writes a record. A `ready` one takes the place of the `partial` one, and files no record names any more go. */
  putModel(record: ModelRecord): Promise<void>;
  /** Forgets a model and its files, but for those another model shares. */
  deleteModel(url: string): Promise<void>;
  /** The kernel variants that were found best under `key` before, by operation. */
  variants(key: string): Promise<Record<string, string> | undefined>;
  putVariants(key: string, variants: Record<string, string>): Promise<void>;
  /** Bytes that are stored, as far as that is known. */
  usage(): Promise<number>;
  close(): void;
}
