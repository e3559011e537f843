import { LlavaError } from "../basics/errors.js";
import { needsBrowser, needsSecureContext } from "./browser.js";
import type { Device, DeviceFailures } from "./device.js";

const BROWSERS = "Chrome and Edge have it from 113 (Android: 121), Safari from 26, Firefox from 141 on Windows and 145 on macOS.";

/**
 * The GPU that would be used.
 *
 * @throws LlavaError `insecure_context` or `webgpu_unavailable`, with what the visitor can do.
 */
export async function findGpu(): Promise<Device> {
  needsBrowser();
  needsSecureContext();
  const gpu = (globalThis.navigator as { gpu?: GPU } | undefined)?.gpu;
  if (!gpu) throw new LlavaError("webgpu_unavailable", `This browser has no WebGPU, or has it switched off. ${BROWSERS}`);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new LlavaError("webgpu_unavailable", `WebGPU is there, but it has no GPU to use: the driver is missing, too old or blocked (chrome://gpu tells which). ${BROWSERS}`);
  }
  const name = describeAdapter(adapter);
  return { kind: "gpu", name, software: isSoftware(adapter, name), limits: adapter.limits, memory: undefined, watch: watchNextDevice };
}

/** Settles when the engine before has its device: each of a thread wraps `requestDevice` for its own, here and in web_features.js. */
let turn: Promise<void> = Promise.resolve();

/** @see Device.watch */
async function watchNextDevice(failures: DeviceFailures): Promise<() => void> {
  const before = turn;
  let done: () => void;
  turn = new Promise((resolve) => (done = resolve));
  await before;
  const { prototype } = GPUAdapter;
  const { requestDevice } = prototype;
  const watching: GPUAdapter["requestDevice"] = async function (this: GPUAdapter, ...options) {
    prototype.requestDevice = requestDevice; // other devices of this thread are not the engine's
    const device = await requestDevice.apply(this, options).finally(done);
    watch(device, failures);
    return device;
  };
  prototype.requestDevice = watching;
  return () => {
    if (prototype.requestDevice === watching) prototype.requestDevice = requestDevice;
    done();
  };
}

function watch(device: GPUDevice, { onLost, onOutOfMemory }: DeviceFailures): void {
  void device.lost.then(({ reason, message }) => {
    if (reason !== "destroyed") onLost(`The GPU was lost (${message || "no reason is given"}).`);
  });
  let full = false;
  device.addEventListener("uncapturederror", (event) => {
    const first = !full && event.error instanceof GPUOutOfMemoryError;
    full ||= first;
    if (!full) return;
    // The engine's own listener would end the program for it, and for all that follows from a buffer that is none.
    event.stopImmediatePropagation();
    event.preventDefault();
    if (!first) return;
    const cure =
      "Close other tabs and programs that use the GPU, ask with a shorter prompt, load with a smaller `context_length`, " +
      "or take a smaller model. availability(url) says what the model needs.";
    onOutOfMemory("The GPU is out of memory.", cure);
    device.destroy();
  });
}

/** A GPU's name, as far as the browser tells it. */
function describeAdapter({ info }: GPUAdapter): string {
  return info.description || [info.vendor, info.architecture].filter(Boolean).join(" ") || "unknown";
}

/** Drivers that compute on the CPU what a GPU would. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render/i;

function isSoftware({ info }: GPUAdapter, name: string): boolean {
  const { isFallbackAdapter } = info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  return isFallbackAdapter === true || SOFTWARE.test(name);
}
