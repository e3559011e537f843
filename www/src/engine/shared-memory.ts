// The memory of an engine for CPUs, which its threads share. It is the same one where there is one thread: browsers make it on any page.
import { LlavaError } from "../basics/errors.js";

/** Bytes of a page of WebAssembly's memory. */
const PAGE = 65536;
/** What an engine has from the start: more than its own data take. */
const FIRST_PAGES = 64;
/** All that can be addressed, or less: some phones keep no 4 GiB of addresses free. */
const MOST_PAGES = [65536, 32768, 16384, 8192];

/** Bytes that such a memory may grow to here. */
export function addressSpace(): number {
  return (MOST_PAGES.find((pages) => tried(pages)) ?? 0) * PAGE;
}

/**
 * A new one.
 *
 * @throws LlavaError `engine_failed` where the browser gives none.
 */
export function sharedMemory(): WebAssembly.Memory {
  for (const pages of MOST_PAGES) {
    const memory = tried(pages);
    if (memory) return memory;
  }
  throw new LlavaError("engine_failed", "This browser gives WebAssembly no memory that threads could share: close other tabs, or update it.");
}

function tried(maximum: number): WebAssembly.Memory | undefined {
  try {
    return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
  } catch {
    return undefined;
  }
}
