import { aborted } from "../basics/errors.js";
import type { Store } from "./store.js";

// Tabs of a site share one store. The browser gives a lock back by itself when its tab goes, however it goes.

const file = (hash: string) => `llava-web file ${hash}`;
const model = (url: string) => `llava-web model ${url}`;

/**
 * Runs `work` while no other tab does so for the same file.
 *
 * @throws LlavaError `aborted` if `signal` fires while it waits, or what `work` throws.
 */
export async function withFile<T>(hash: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  let begun = false;
  try {
    const run = () => {
      begun = true;
      return work();
    };
    return await (navigator.locks.request(file(hash), { signal }, run) as Promise<T>);
  } catch (error) {
    throw !begun && signal.aborted ? aborted(signal) : error;
  }
}

/** Marks the model at `url` as being loaded, so that no tab evicts it; resolves to the function that ends this. */
export function holdModel(url: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = () => new Promise<void>((release) => resolve(release));
    navigator.locks.request(model(url), { mode: "shared" }, hold).catch(reject);
  });
}

/**
 * Deletes the model that was not used for the longest time, of those that no tab is loading.
 *
 * @returns its name and address; undefined where there is none to delete
 */
export async function evictModel(store: Store): Promise<{ name: string; url: string } | undefined> {
  const records = (await store.models()).sort((a, b) => a.last_used - b.last_used);
  for (const { name, url } of records) {
    const gone = await navigator.locks.request(model(url), { ifAvailable: true }, async (lock) => {
      if (lock) await store.deleteModel(url);
      return lock !== null;
    });
    if (gone) return { name, url };
  }
  return undefined;
}
