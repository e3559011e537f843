// The kinds of devices there are. Page, worker and engine take from these tables what they need: bundles hold no more of them.
import { instantiate as cpu } from "llava-web:glue/cpu";
import { instantiate as gpu, type Glue } from "llava-web:glue/gpu";
import type { DeviceKind } from "../basics/info.js";
import { findCpu } from "./cpu.js";
import type { Device } from "./device.js";
import { findGpu } from "./gpu.js";

/** How a device of each kind is found. Each rejects, with what the visitor can do, where there is none. */
export const FIND: Record<DeviceKind, () => Promise<Device>> = { gpu: findGpu, cpu: findCpu };

/** Its engine, as a function that makes one whose wasm is still to come. */
export const ENGINES: Record<DeviceKind, () => Glue> = { gpu, cpu };

/** Where that wasm is. Bundlers look for exactly this form. */
export const ADDRESSES: Record<DeviceKind, () => URL> = {
  gpu: () => new URL("./llava-web/engine.wasm", import.meta.url),
  cpu: () => new URL("./llava-web/engine-cpu.wasm", import.meta.url),
};
