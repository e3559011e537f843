import { LlavaError } from "../basics/errors.js";
import type { Global } from "../basics/global.js";
import { absolute } from "../basics/host.js";
import { DEVICE_KINDS, type DeviceKind } from "../basics/info.js";
import type { EngineModule } from "../engine.js";
import { ADDRESSES } from "./kinds.js";

/** Where the package's own files are, for environments whose bundler does not follow them. In Node `worker` and `engine` do nothing, and `wasm` may be paths. */
export interface Assets {
  /** `dist/llava-web/worker.js` of the package: its URL, a Worker that runs it (for one model), or a function that makes one. */
  worker?: string | URL | Global<"Worker"> | (() => Global<"Worker">);
  /**
   * The URL of `dist/llava-web/engine.wasm`, the engine for GPUs; under that name the one for CPUs, `engine-cpu.wasm`, is looked for beside it.
   * Where they lie otherwise, their URLs by kind of device: `{ gpu, cpu }`. Only one of them is fetched.
   */
  wasm?: string | URL | Partial<Record<DeviceKind, string | URL>>;
  /**
   * `import * as engine from "llava-web/engine"`: the engine runs in this thread, without a worker. Service workers need it, as
   * they have no workers and may not import later; elsewhere it is found by itself where there is no Worker.
   */
  engine?: EngineModule;
}

/** Whether this is a Worker; there are threads that know no such class. */
export function isWorker(value: unknown): value is Global<"Worker"> {
  return typeof Worker !== "undefined" && value instanceof Worker;
}

/** Names of the options that say where files are. */
export const ASSET_OPTIONS = ["worker", "wasm", "engine"] as const satisfies (keyof Assets)[];

/** The addresses of the engines' wasm, where `wasm` is as in {@link Assets}. */
export function wasmAddresses(wasm: Assets["wasm"]): Record<DeviceKind, string> {
  const given = isAddress(wasm) ? besideEngine(absolute(wasm)) : wasm;
  const found = Object.entries(ADDRESSES).map(([kind, own]) => {
    const address = given?.[kind as DeviceKind];
    return [kind, address === undefined ? packaged("wasm", own) : absolute(address)];
  });
  return Object.fromEntries(found) as Record<DeviceKind, string>;
}

/** Where the folder that holds the engines was copied as it is, they lie beside one another; under another name it is the first kind's alone. */
function besideEngine(address: string): Partial<Record<DeviceKind, string>> {
  const kinds = Object.keys(ADDRESSES) as DeviceKind[];
  const { pathname } = new URL(address);
  const folder = /^(.*\/)engine(-[a-z]+)?\.wasm$/.exec(pathname)?.[1];
  if (folder === undefined) return { [kinds[0]!]: address };
  const beside = (kind: DeviceKind) => Object.assign(new URL(address), { pathname: folder + engineName(kind) }).href;
  return Object.fromEntries(kinds.map((kind) => [kind, beside(kind)]));
}

/** What an engine is called in the package, as scripts/bundle.mjs has it: the first one's name is as old as the package. */
function engineName(kind: DeviceKind): string {
  return kind === "gpu" ? "engine.wasm" : `engine-${kind}.wasm`;
}

/** @throws LlavaError `invalid_input` for what cannot be the address of the worker or of the engine. */
export function checkAssets({ worker, wasm, engine }: Assets): void {
  if (worker !== undefined && !isAddress(worker) && !isWorker(worker) && typeof worker !== "function") {
    throw wrong("worker", "a URL, a Worker or a function that makes one", "dist/llava-web/worker.js of the package");
  }
  if (wasm !== undefined && !isAddress(wasm) && !areAddresses(wasm)) {
    const kinds = DEVICE_KINDS.join(", ");
    throw wrong("wasm", `a URL, or an object with URLs (${kinds})`, "dist/llava-web/engine.wasm of the package, or each of its engines");
  }
  if (engine !== undefined && typeof engine?.startEngine !== "function") {
    throw wrong("engine", "the module llava-web/engine", 'import * as engine from "llava-web/engine"');
  }
}

/** Whether this is an address by kind of device. */
function areAddresses(wasm: unknown): boolean {
  if (typeof wasm !== "object" || wasm === null) return false;
  const known = (kind: string) => (DEVICE_KINDS as readonly string[]).includes(kind);
  const given = Object.entries(wasm);
  return given.length > 0 && given.every(([kind, address]) => known(kind) && (address === undefined || isAddress(address)));
}

/** Whether this says where a file is. */
export function isAddress(value: unknown): value is string | URL {
  return value instanceof URL || (typeof value === "string" && value !== "");
}

/** The error for an option that is not what it must be; `what` says what it stands for. */
export function wrong(option: string, wanted: string, what: string): LlavaError {
  return new LlavaError("invalid_input", `\`${option}\` must be ${wanted}: ${what}.`);
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
