// Node has no GPU that an engine could use.
import { LlavaError } from "../basics/errors.js";
import type { DeviceChoice } from "./choice.js";
import type { Device } from "./device.js";
import { FIND } from "./kinds.js";

/** @throws LlavaError `webgpu_unavailable` where a GPU is asked for */
export async function findDevice(choice: DeviceChoice, _onWarning: (error: LlavaError) => void): Promise<Device> {
  if (choice !== "gpu") return FIND.cpu();
  throw new LlavaError("webgpu_unavailable", 'Node.js has no WebGPU: ask for `device: "cpu"`, or leave it out.');
}
