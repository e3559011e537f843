// Node has no locks that processes share. So two of them may fetch the same file, which the store takes twice without harm.
import type { Store } from "./store.js";

/** Models that are being loaded in this thread, each with how often. */
const held = new Map<string, number>();

/** Runs `work`. */
export function withFile<T>(_hash: string, _signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return work();
}

/** Marks the model at `url` as being loaded, so that this thread does not evict it; resolves to the function that ends this. */
export async function holdModel(url: string): Promise<() => void> {
  held.set(url, (held.get(url) ?? 0) + 1);
  return () => {
    const others = held.get(url)! - 1;
    if (others > 0) held.set(url, others);
    else held.delete(url);
  };
}

/**
 * Deletes the model that was not used for the longest time, of those that this thread is not loading. Another process that loads it
 * fetches again what it misses.
 *
 * @returns its name and address; undefined where there is none to delete
 */
export async function evictModel(store: Store): Promise<{ name: string; url: string } | undefined> {
  const records = (await store.models()).sort((a, b) => a.last_used - b.last_used);
  const evicted = records.find(({ url }) => !held.has(url));
  if (!evicted) return undefined;
  await store.deleteModel(evicted.url);
  return { name: evicted.name, url: evicted.url };
}
