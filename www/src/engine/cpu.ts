import { needsBrowser, needsSecureContext } from "./browser.js";
import type { Device } from "./device.js";
import { addressSpace } from "./shared-memory.js";

/** What the engine itself takes of what it can address, and what its allocator cannot use. */
const KEPT_FREE = 256 * 2 ** 20;

/**
 * The CPU, which is always there.
 *
 * @throws LlavaError `insecure_context`
 */
export async function findCpu(): Promise<Device> {
  needsBrowser();
  needsSecureContext();
  const most = 2 ** 31 - 1; // no slice of Rust's is larger
  return {
    kind: "cpu",
    name: "CPU",
    software: true,
    limits: { maxBufferSize: most, maxStorageBufferBindingSize: most },
    memory: addressSpace() - KEPT_FREE,
    watch: async () => () => undefined, // it fails with the engine only
  };
}
