// The same in Node, where threads always share memory.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { script } from "llava-web:helper";
import { helperCount, type Helpers } from "./thread-count.js";

export async function startHelpers(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Helpers> {
  const starting = Array.from({ length: helperCount(availableParallelism()) }, () => start({ module, memory }));
  const running = (await Promise.all(starting)).filter((worker) => worker !== undefined);
  return { count: running.length, end: () => running.forEach((worker) => void worker.terminate()) };
}

function start(data: { module: WebAssembly.Module; memory: WebAssembly.Memory }): Promise<Worker | undefined> {
  return new Promise((resolve) => {
    const worker = new Worker(script, { eval: true, execArgv: [], env: {} });
    worker.on("message", () => {
      worker.unref(); // the engine's thread ends when it has nothing to do
      resolve(worker);
    });
    worker.on("error", () => resolve(undefined));
    worker.postMessage(data);
  });
}
