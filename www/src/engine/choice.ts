import { DEVICE_KINDS, type DeviceKind } from "../basics/info.js";

/** What a model may be asked to run on. `auto`: the GPU, and the CPU where there is none, or where it does worse than that. */
export type DeviceChoice = "auto" | DeviceKind;

export const CHOICES: DeviceChoice[] = ["auto", ...DEVICE_KINDS];
