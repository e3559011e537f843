import { filesOf, parseManifest } from "../weights/manifest.js";
import { openStore, type ModelRecord } from "../weights/store.js";
import { modelUrl } from "./model-url.js";

/** A model that this browser keeps, whole or in part. */
export interface StoredModel {
  url: string;
  name: string;
  quantization: string;
  /** Bytes that are stored. Files that two models share are counted for both. */
  bytes: number;
  /** Bytes of the whole model. */
  total_bytes: number;
  /** When it was loaded last: `load(url, { evict: true })` deletes the one with the oldest date first. */
  last_used: Date;
}

/** The models that this browser keeps. */
export const models = {
  /** All of them, the last used first. */
  async list(): Promise<StoredModel[]> {
    const store = await openStore();
    try {
      const [records, hashes] = await Promise.all([store.models(), store.hashes()]);
      // While a new version loads there are two records: what counts is the one that is in use.
      const ready = new Set(records.filter(({ state }) => state === "ready").map(({ url }) => url));
      return records
        .filter(({ state, url }) => state === "ready" || !ready.has(url))
        .sort((a, b) => b.last_used - a.last_used)
        .map((record) => describe(record, hashes));
    } finally {
      store.close();
    }
  },

  /** Deletes the model at `url` from the store, but for files that another model shares. A loaded one stays usable. */
  async delete(url: string | URL): Promise<void> {
    const store = await openStore();
    try {
      // What is listed may be deleted, also what an earlier version called by a name that there is no more.
      const listed = (await store.models()).some((record) => record.url === url);
      await store.deleteModel(listed ? String(url) : modelUrl(url));
    } finally {
      store.close();
    }
  },
};

function describe({ url, manifest: text, last_used }: ModelRecord, hashes: Set<string>): StoredModel {
  const manifest = parseManifest(text, url);
  const here = filesOf(manifest).filter(({ sha256 }) => hashes.has(sha256));
  return {
    url,
    name: manifest.name,
    quantization: manifest.quantization,
    bytes: here.reduce((sum, { bytes }) => sum + bytes, 0),
    total_bytes: manifest.total_bytes,
    last_used: new Date(last_used),
  };
}
