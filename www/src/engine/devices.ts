// The kinds of devices there are, and which of them a load runs on.
import type { Device } from "./device.js";
import { findGpu } from "./gpu.js";

/** How a device of each kind is found. Each rejects, with what the visitor can do, where there is none. */
const DEVICES = {
  gpu: findGpu,
};

export type DeviceKind = keyof typeof DEVICES;

/** The device that a load runs on. @throws LlavaError `insecure_context` or `webgpu_unavailable` */
export function findDevice(kind: DeviceKind = "gpu"): Promise<Device> {
  return DEVICES[kind]();
}
