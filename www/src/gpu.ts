import { LlavaError } from "./errors.js";

const BROWSERS =
  "Chrome and Edge have it from 113 (Android: 121), Safari from 26, Firefox from 141 on Windows and 145 on macOS. " +
  "On Linux, Chrome may need --enable-unsafe-webgpu --enable-features=Vulkan; chrome://gpu tells what is switched off and why.";

/**
 * The GPU that would be used.
 *
 * @throws LlavaError `insecure_context` or `webgpu_unavailable`, with what the visitor can do.
 */
export async function findAdapter(): Promise<GPUAdapter> {
  if (!globalThis.isSecureContext) {
    throw new LlavaError("insecure_context", "WebGPU and hashing work only on pages served over https or from localhost; this one is not.");
  }
  const gpu = (navigator as { gpu?: GPU }).gpu;
  if (!gpu) throw new LlavaError("webgpu_unavailable", `This browser has no WebGPU, or has it switched off. ${BROWSERS}`);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new LlavaError("webgpu_unavailable", `WebGPU is there, but it has no GPU to use: the driver is missing, too old or blocked. ${BROWSERS}`);
  }
  return adapter;
}

/**
 * Calls `tell` when a device that is requested from now on fails for good: it is lost (the driver crashed, or the GPU
 * was taken away), or out of memory. The engine itself learns that late or never, and would wait for what the device
 * was to compute.
 */
export function onGpuFailure(tell: (problem: string) => void): void {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    const device = await requestDevice.apply(this, options);
    void device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") tell(`The GPU was lost (${message || "no reason is given"}). Load the model again.`);
    });
    device.addEventListener("uncapturederror", ({ error }) => {
      if (!(error instanceof GPUOutOfMemoryError)) return;
      const cure =
        "Close other tabs and programs that use the GPU, load with a smaller `context_length` or " +
        'kv_cache: "f16", or take a smaller model.';
      tell(`The GPU is out of memory. ${cure} availability(url) says what the model needs.`);
    });
    return device;
  };
}

/** A GPU's name, as far as the browser tells it. */
export function describeAdapter({ info }: GPUAdapter): string {
  return info.description || [info.vendor, info.architecture].filter(Boolean).join(" ") || "unknown";
}
