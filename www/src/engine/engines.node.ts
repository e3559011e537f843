// The one engine for Node.
import { instantiate as cpu, type Glue } from "llava-web:cpu";
import type { DeviceKind } from "../basics/info.js";

export const ENGINES: Record<DeviceKind, () => Glue> = { cpu, gpu: noGpu };

/** devices.node.ts finds no GPU. */
function noGpu(): never {
  throw new Error("there is no engine for GPUs in Node.js");
}
