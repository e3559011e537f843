// The engine of each kind of device, as a function that makes one whose wasm is still to come.
import { instantiate as cpu } from "llava-web:cpu";
import { instantiate as gpu, type Glue } from "llava-web:gpu";
import type { DeviceKind } from "../basics/info.js";

export const ENGINES: Record<DeviceKind, () => Glue> = { gpu, cpu };
