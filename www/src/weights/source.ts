import type { FetchOptions } from "./download.js";
import type { BundleFile } from "./manifest.js";

/**
 * Where a model's weights come from: a manifest, and files that go by their hash. What keeps them (store, locks, eviction), what resumes
 * and what counts progress does not know which kind of source it is. Another kind is a file like bundle.ts and a row in sources.ts.
 */
export interface Source {
  /** The address of the manifest, for messages. */
  readonly where: string;
  /** Whether it is a folder of this machine: then there is nothing to gain by storing its files. */
  readonly near: boolean;
  /**
   * The manifest's text, as parseManifest reads it.
   *
   * @throws LlavaError `no_such_model`, `network` or `aborted`
   */
  manifest(options: FetchOptions): Promise<string>;
  /**
   * A file that the manifest names, checked to be of the size and the hash that are said there.
   *
   * @throws LlavaError `network`, `bad_bundle` or `aborted`
   */
  file(file: BundleFile, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>>;
  /** What to try where there is no model, as the end of a message; empty where there is nothing to say. */
  absenceCure(): string;
}

/** What every source's address has. It crosses to the engine's thread, so it is plain data. */
export interface AddressOf<Kind extends string> {
  kind: Kind;
  /** The model's name in the store. */
  key: string;
  /** SHA-256 of the manifest, where it is known beforehand: a stored one that differs is an older version. */
  manifest_sha256?: string;
}
