// Threads that help an engine for CPUs, as the engine sees them: the page makes them.
import { helpersAt, type Helpers } from "./helper-team.js";
import type { Help } from "./protocol.js";

/** Has as many started as there are cores for; none where browsers share no memory, which takes a page that is cross-origin isolated. */
export async function startHelpers(module: WebAssembly.Module, memory: WebAssembly.Memory, ask: (help: Help) => Promise<number>): Promise<Helpers> {
  // A page's own thread may not wait for others.
  const may = globalThis.crossOriginIsolated && typeof SharedArrayBuffer !== "undefined" && typeof document === "undefined";
  const wanted = may ? helpersAt(navigator.hardwareConcurrency) : 0;
  const count = wanted > 0 ? await ask({ type: "help", wanted, module, memory }) : 0;
  return { count, end: () => void (count > 0 && ask({ type: "help", wanted: 0, module, memory })) };
}
