import type { DeviceKind } from "../basics/info.js";
import type { BufferLimits } from "./memory.js";

/**
 * What an engine runs on, as far as loading need know. Another kind is a file like gpu.ts, which finds one, and rows in kinds.ts.
 */
export interface Device {
  readonly kind: DeviceKind;
  /** As far as the browser tells it: kernel variants that were timed are kept under this name. */
  readonly name: string;
  /** Whether it computes on the CPU what it says. */
  readonly software: boolean;
  readonly limits: BufferLimits;
  /** The most bytes that a model may take, where that is known to be a limit. */
  readonly memory: number | undefined;
  /**
   * Tells `failures` when what the engine that is started next in this thread runs on fails for good. The engine itself learns that late
   * or never, and would wait for what the device was to compute. Engines of one thread take turns here.
   *
   * @returns resolves, when the engine may start, to a function to be called when it has, or could not
   */
  watch(failures: DeviceFailures): Promise<() => void>;
}

/** How a device fails for good; each is told what happened in a sentence or two. */
export interface DeviceFailures {
  /** It was taken away: the driver crashed, the computer slept. Another engine may do better. */
  onLost(what: string): void;
  /** It had no room for what was asked of it, and has given back all that the engine held. `cure` says what to do. */
  onOutOfMemory(what: string, cure: string): void;
}

/** Milliseconds within which a loss is told, after what failed for it. */
const TOLD_WITHIN = 200;

/** What fails may do so for a GPU that is lost: waits until that has been told. */
export function untilLossIsTold(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, TOLD_WITHIN));
}
