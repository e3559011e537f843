// Threads that help an engine for CPUs: workers beside its own, in the same memory.
import { script } from "llava-web:helper";
import { helpersFor, type Helpers } from "./helper-team.js";

/** Starts as many as there are cores for; none where browsers share no memory, which takes a page that is cross-origin isolated. */
export async function startHelpers(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Helpers> {
  // A page's own thread may not wait for others.
  const may = globalThis.crossOriginIsolated && typeof SharedArrayBuffer !== "undefined" && typeof Worker !== "undefined" && typeof document === "undefined";
  if (!may) return helpersFor(1, async () => undefined);
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const helpers = await helpersFor(navigator.hardwareConcurrency, () => start(url, { module, memory }));
  URL.revokeObjectURL(url);
  return helpers;
}

/** Nothing where a policy forbids it: the engine does without. */
function start(url: string, data: { module: WebAssembly.Module; memory: WebAssembly.Memory }): Promise<Worker | undefined> {
  return new Promise((resolve) => {
    try {
      const worker = new Worker(url);
      worker.onmessage = () => resolve(worker);
      worker.onerror = (event) => {
        event.preventDefault();
        resolve(undefined);
      };
      worker.postMessage(data);
    } catch {
      resolve(undefined);
    }
  });
}
