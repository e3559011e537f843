import { LlavaError } from "../basics/errors.js";
import { absolute } from "../basics/host.js";
import type { DeviceKind } from "../basics/info.js";
import type { EngineModule } from "../engine.js";

/** Where the package's own files are, for environments whose bundler does not follow them. In Node `worker` and `engine` do nothing, and the others may be paths. */
export interface Assets {
  /** `dist/llava-web/worker.js` of the package: its URL, a Worker that runs it (for one model), or a function that makes one. */
  worker?: string | URL | Worker | (() => Worker);
  /** The URL of `dist/llava-web/engine.wasm`, the engine for GPUs. */
  wasm?: string | URL;
  /**
   * The URL of `dist/llava-web/engine-cpu.wasm`, the engine for CPUs; only one of the two is fetched. Where absent it is looked for beside a
   * `wasm` that has its own name.
   */
  cpu_wasm?: string | URL;
  /**
   * `import * as engine from "llava-web/engine"`: the engine runs in this thread, without a worker. Service workers need it, as
   * they have no workers and may not import later; elsewhere it is found by itself where there is no Worker.
   */
  engine?: EngineModule;
}

/** Whether this is a Worker; there are threads that know no such class. */
export function isWorker(value: unknown): value is Worker {
  return typeof Worker !== "undefined" && value instanceof Worker;
}

/** The addresses of the engines' wasm. Bundlers look for exactly this form. */
export function wasmAddresses({ wasm, cpu_wasm = besideEngine(wasm) }: Assets): Record<DeviceKind, string> {
  return {
    gpu: wasm === undefined ? packaged("wasm", () => new URL("./llava-web/engine.wasm", import.meta.url)) : absolute(wasm),
    cpu: cpu_wasm === undefined ? packaged("cpu_wasm", () => new URL("./llava-web/engine-cpu.wasm", import.meta.url)) : absolute(cpu_wasm),
  };
}

/** Where the folder that holds `engine.wasm` was copied as it is, the other engine lies beside it. */
function besideEngine(wasm: string | URL | undefined): string | undefined {
  if (wasm === undefined) return undefined;
  const address = new URL(absolute(wasm));
  if (!address.pathname.endsWith("/engine.wasm")) return undefined;
  address.pathname = address.pathname.replace(/engine\.wasm$/, "engine-cpu.wasm");
  return address.href;
}

/** The address of the engine as a module, for threads without Worker. */
export function engineAddress(): string {
  return packaged("engine", () => new URL("./llava-web/engine.js", import.meta.url));
}

/**
 * The address of a file of the package, as the bundler has rewritten it.
 *
 * @throws LlavaError `engine_failed` in a bundle that does not know its own address.
 */
export function packaged(option: string, address: () => URL): string {
  try {
    return absolute(address().href); // Next.js makes paths of them
  } catch (cause) {
    const cure = `bundle to ES modules (--format=esm), or say where the file is: configure({ ${option} })`;
    throw new LlavaError("engine_failed", `This bundle does not know its own address (import.meta.url is missing): ${cure}.`, { cause });
  }
}
