// Node has an engine for CPUs only; devices.node.ts finds no other device.
import { instantiate as cpu, type Glue } from "llava-web:glue/cpu";
import type { DeviceKind } from "../basics/info.js";
import { findCpu } from "./cpu.js";
import type { Device } from "./device.js";

export const FIND = { cpu: findCpu } as Record<DeviceKind, () => Promise<Device>>;

export const ENGINES = { cpu } as Record<DeviceKind, () => Glue>;

export const ADDRESSES = { cpu: () => new URL("./llava-web/engine-cpu.wasm", import.meta.url) } as Record<DeviceKind, () => URL>;
