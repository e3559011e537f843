// The kinds of devices there are, and which of them a load runs on.
import { LlavaError, toLlavaError } from "../basics/errors.js";
import type { DeviceKind } from "../basics/info.js";
import type { DeviceChoice } from "./choice.js";
import { findCpu } from "./cpu.js";
import type { Device } from "./device.js";
import { findGpu } from "./gpu.js";

/** How a device of each kind is found. Each rejects, with what the visitor can do, where there is none. */
const DEVICES: Record<DeviceKind, () => Promise<Device>> = {
  gpu: findGpu,
  cpu: findCpu,
};

/**
 * The device that a load runs on. `onWarning` is told why `auto` is the CPU.
 *
 * @throws LlavaError `insecure_context`; `webgpu_unavailable` where a GPU is asked for
 */
export async function findDevice(choice: DeviceChoice, onWarning: (error: LlavaError) => void): Promise<Device> {
  if (choice !== "auto") return DEVICES[choice]();
  const gpu = await findGpu().catch((error: unknown) => toLlavaError(error, "webgpu_unavailable"));
  if (!(gpu instanceof LlavaError) && !gpu.software) return gpu;
  const cpu = await findCpu();
  const why = gpu instanceof LlavaError ? gpu.message : `The only GPU here, ${gpu.name}, is software.`;
  onWarning(new LlavaError("webgpu_unavailable", `${why} The model runs on the CPU.`, { cause: gpu instanceof LlavaError ? gpu : undefined }));
  return cpu;
}
