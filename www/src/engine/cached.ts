// Copies of the engine's own files, worker and wasm, for the time without a network: the browser's HTTP cache may drop them.
import { BUILD } from "./build.js";

const CACHE = "llava-web";

/** The key under which a file of this build is kept. */
function key(address: string): string {
  const url = new URL(address);
  url.searchParams.set(CACHE, BUILD);
  return url.href;
}

/** The kept copy of `address` as this build has it. Never rejects. */
export async function cachedCopy(address: string): Promise<Response | undefined> {
  try {
    return await (await caches.open(CACHE)).match(key(address));
  } catch {
    return undefined; // no Cache Storage, as in some private windows, or an address that it does not take
  }
}

/** Keeps a copy, in the place of those of other builds. Never rejects. */
export async function keepCopy(address: string, body: BodyInit, type: string): Promise<void> {
  try {
    const cache = await caches.open(CACHE);
    const request = key(address);
    if (await cache.match(request)) return;
    for (const old of await cache.keys()) if (new URL(old.url).searchParams.get(CACHE) !== BUILD) await cache.delete(old);
    await cache.put(request, new Response(body, { headers: { "content-type": type } }));
  } catch {
    // no room, or no Cache Storage: the next visit asks the network
  }
}
