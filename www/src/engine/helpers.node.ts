// The same in Node, where threads always share memory.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { script } from "llava-web:helper";
import { helpersAt, startTeam, type Helpers } from "./helper-team.js";

export function startHelpers(module: WebAssembly.Module, memory: WebAssembly.Memory, _ask: unknown): Promise<Helpers> {
  return startTeam(helpersAt(availableParallelism()), () => start({ module, memory }));
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
