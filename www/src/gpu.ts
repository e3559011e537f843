import { LlavaError } from "./errors.js";

const BROWSERS = "Chrome and Edge have it from 113 (Android: 121), Safari from 26, Firefox from 141 on Windows and 145 on macOS.";

/**
 * Refuses where there is no browser at all, so that a server that renders a page gets a clear answer at once.
 *
 * @throws LlavaError `webgpu_unavailable`
 */
export function noBrowser(): void {
  const { process, navigator } = globalThis as { process?: { versions?: { node?: string } }; navigator?: { gpu?: GPU } };
  if (!process?.versions?.node || navigator?.gpu) return;
  const cure = "Call it in the browser: from an event handler, or an effect of a client component.";
  throw new LlavaError("webgpu_unavailable", `This is Node.js, and models run on the WebGPU of a browser. ${cure}`);
}

/**
 * The GPU that would be used.
 *
 * @throws LlavaError `insecure_context` or `webgpu_unavailable`, with what the visitor can do.
 */
export async function findAdapter(): Promise<GPUAdapter> {
  noBrowser();
  if (!globalThis.isSecureContext) {
    throw new LlavaError("insecure_context", "WebGPU and hashing work only on pages served over https or from localhost; this one is not.");
  }
  const gpu = (globalThis.navigator as { gpu?: GPU } | undefined)?.gpu;
  if (!gpu) throw new LlavaError("webgpu_unavailable", `This browser has no WebGPU, or has it switched off. ${BROWSERS}`);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new LlavaError("webgpu_unavailable", `WebGPU is there, but it has no GPU to use: the driver is missing, too old or blocked (chrome://gpu tells which). ${BROWSERS}`);
  }
  return adapter;
}

/** How a device fails for good; each is told what happened in a sentence or two. */
export interface GpuFailures {
  /** The driver crashed, or the GPU was taken away. */
  onLost(what: string): void;
  onOutOfMemory(what: string): void;
}

/** Milliseconds within which a loss is told, after what failed for it. */
const TOLD_WITHIN = 200;

/** What fails may do so for a GPU that is lost: waits until that has been told. */
export function untilLossIsTold(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, TOLD_WITHIN));
}

const failures = new Set<GpuFailures>();

/**
 * Calls `tell` when the device that the engine requests next, or has requested in this thread before, fails for good. The engine
 * itself learns that late or never, and would wait for what the device was to compute.
 *
 * @returns the function that ends this
 */
export function onGpuFailure(tell: GpuFailures): () => void {
  failures.add(tell);
  const { prototype } = GPUAdapter;
  const { requestDevice } = prototype;
  const watching = async function (this: GPUAdapter, ...options: [GPUDeviceDescriptor?]) {
    prototype.requestDevice = requestDevice; // other devices of this thread are not the engine's
    const device = await requestDevice.apply(this, options);
    watch(device);
    return device;
  };
  prototype.requestDevice = watching;
  return () => {
    failures.delete(tell);
    if (prototype.requestDevice === watching) prototype.requestDevice = requestDevice;
  };
}

function watch(device: GPUDevice): void {
  void device.lost.then(({ reason, message }) => {
    if (reason === "destroyed") return;
    for (const { onLost } of failures) onLost(`The GPU was lost (${message || "no reason is given"}).`);
  });
  device.addEventListener("uncapturederror", ({ error }) => {
    if (!(error instanceof GPUOutOfMemoryError)) return;
    const cure =
      "Close other tabs and programs that use the GPU, load with a smaller `context_length` or " +
      'kv_cache: "f16", or take a smaller model.';
    for (const { onOutOfMemory } of failures) onOutOfMemory(`The GPU is out of memory. ${cure} availability(url) says what the model needs.`);
  });
}

/** A GPU's name, as far as the browser tells it. */
export function describeAdapter({ info }: GPUAdapter): string {
  return info.description || [info.vendor, info.architecture].filter(Boolean).join(" ") || "unknown";
}
