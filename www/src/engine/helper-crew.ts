// The workers that help an engine for CPUs, beside its own and in the same memory. The page makes them: in Firefox a worker that makes
// another one of a blob may wait for ever.
import { script } from "llava-web:helper";
import { trusted } from "../basics/trusted.js";
import { startTeam, type Helpers } from "./helper-team.js";
import type { Help, Request } from "./protocol.js";

/** How long one may take to start, in ms, before the engine does without it. */
const PATIENCE = 10_000;

/** Those of one engine. */
export interface HelperCrew {
  /** Starts what the engine asks for, and tells it how many came; none wanted ends them. */
  ask(help: Help): void;
  end(): void;
}

/** A crew for an engine that requests are posted to by `post`. */
export function helperCrew(post: (request: Request) => void): HelperCrew {
  let helpers: Helpers | undefined;
  let ended = false;
  const end = () => {
    ended = true;
    helpers?.end();
  };
  const ask = async ({ wanted, module, memory }: Help) => {
    if (wanted === 0) return end();
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    helpers = await startTeam(typeof Worker === "undefined" ? 0 : wanted, () => start(url, { module, memory }));
    URL.revokeObjectURL(url);
    if (ended) return helpers.end();
    post({ type: "helping", count: helpers.count });
  };
  return { ask: (help) => void ask(help), end };
}

/** Nothing where a policy forbids it: the engine does without. */
function start(url: string, data: { module: WebAssembly.Module; memory: WebAssembly.Memory }): Promise<Worker | undefined> {
  return new Promise((resolve) => {
    let worker: Worker | undefined;
    const giveUp = () => {
      clearTimeout(timer);
      worker?.terminate();
      resolve(undefined);
    };
    const timer = setTimeout(giveUp, PATIENCE);
    try {
      worker = new Worker(trusted(url));
      worker.onmessage = () => {
        clearTimeout(timer);
        resolve(worker);
      };
      worker.onerror = (event) => {
        event.preventDefault();
        giveUp();
      };
      worker.postMessage(data);
    } catch {
      giveUp();
    }
  });
}
