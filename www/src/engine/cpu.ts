import { needsBrowser, needsSecureContext } from "./browser.js";
import type { Device } from "./device.js";

/** What a wasm can address: no single buffer takes more than half of it. */
const ADDRESS_SPACE = 2 ** 32;
/** What the engine itself takes of that, and what its allocator cannot use. */
const KEPT_FREE = 256 * 2 ** 20;

/**
 * The CPU, which is always there.
 *
 * @throws LlavaError `insecure_context`
 */
export async function findCpu(): Promise<Device> {
  needsBrowser();
  needsSecureContext();
  const most = ADDRESS_SPACE / 2 - 1;
  return {
    kind: "cpu",
    name: "CPU",
    software: true,
    limits: { maxBufferSize: most, maxStorageBufferBindingSize: most },
    memory: ADDRESS_SPACE - KEPT_FREE,
    watch: async () => () => undefined, // it fails with the engine only
  };
}
