// Which kind of device a load runs on.
import { LlavaError, toLlavaError } from "../basics/errors.js";
import type { DeviceChoice } from "./choice.js";
import type { Device } from "./device.js";
import { FIND } from "./kinds.js";

/**
 * The device that a load runs on. `onWarning` is told why `auto` is the CPU.
 *
 * @throws LlavaError `insecure_context`; `webgpu_unavailable` where a GPU is asked for
 */
export async function findDevice(choice: DeviceChoice, onWarning: (error: LlavaError) => void): Promise<Device> {
  if (choice !== "auto") return FIND[choice]();
  const gpu = await FIND.gpu().catch((error: unknown) => toLlavaError(error, "webgpu_unavailable"));
  if (!(gpu instanceof LlavaError) && !gpu.software) return gpu;
  const cpu = await FIND.cpu();
  const why = gpu instanceof LlavaError ? gpu.message : `The only GPU here, ${gpu.name}, is software.`;
  onWarning(new LlavaError("webgpu_unavailable", `${why} The model runs on the CPU.`, { cause: gpu instanceof LlavaError ? gpu : undefined }));
  return cpu;
}
