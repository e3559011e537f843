// What every device needs of where it runs.
import { LlavaError } from "../basics/errors.js";

/**
 * Refuses where there is no browser at all: a server whose bundler has taken what is for browsers gets a clear answer at once.
 *
 * @throws LlavaError `webgpu_unavailable`
 */
export function needsBrowser(): void {
  const { process, navigator } = globalThis as { process?: { versions?: { node?: string } }; navigator?: { gpu?: unknown } };
  if (!process?.versions?.node || navigator?.gpu) return;
  const cure = "Let Node.js resolve the package, or the bundler by the condition `node`; or call it in the browser.";
  throw new LlavaError("webgpu_unavailable", `This is Node.js, and the package was taken as it is for browsers. ${cure}`);
}

/** @throws LlavaError `insecure_context` where the browser neither hashes nor has a GPU. */
export function needsSecureContext(): void {
  if (globalThis.isSecureContext) return;
  throw new LlavaError("insecure_context", "Hashing and WebGPU work only on pages served over https or from localhost; this one is not.");
}
