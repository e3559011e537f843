// The memory that a page may have, where anything is known of it, and the warning of a model that takes more.
import { LlavaError } from "../basics/errors.js";
import type { MemoryUse } from "../basics/info.js";
import { megabytes } from "../basics/naming.js";

/** The most that is known to be there. */
export interface MemoryLimit {
  bytes: number;
  /** Whose it is: a clause that ends before the size. */
  what: string;
}

/** What a navigator tells; absent is what this one does not. */
type Told = Partial<Pick<Navigator, "userAgent" | "maxTouchPoints">> & { deviceMemory?: number };

/**
 * What a page may hold before the system ends it, GPU buffers included. No browser tells it: WebKit reckons with 1.5 GB on iOS and
 * iPadOS (bugs.webkit.org/show_bug.cgi?id=297475); reports of pages differ widely, with about half of that on iPhones, and on Android about as
 * much as on iPads. Newer devices may allow more, so that this is for warnings only.
 */
const PAGES: { of: string; bytes: number; is: (told: Required<Omit<Told, "deviceMemory">>) => boolean }[] = [
  { of: "an iPhone", bytes: 700e6, is: ({ userAgent }) => /iPhone|iPod/.test(userAgent) },
  // iPads pass for Macs, which have no touch screen.
  { of: "an iPad", bytes: 1500e6, is: ({ userAgent, maxTouchPoints }) => /iPad/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1) },
  { of: "Android", bytes: 1500e6, is: ({ userAgent }) => /Android/.test(userAgent) },
];

/** Browsers give `navigator.deviceMemory` as a power of two, and from this on as the largest that they tell: "or more". */
const DEVICE_MEMORY_CAP = 8;

/** What is known of this device; in a worker an iPad passes for a Mac. */
export function memoryLimit(): MemoryLimit | undefined {
  const { userAgent = "", maxTouchPoints = 0, deviceMemory } = (globalThis.navigator ?? {}) as Told; // old Node has none
  const limits: MemoryLimit[] = PAGES.filter(({ is }) => is({ userAgent, maxTouchPoints })).map(({ of, bytes }) => ({ bytes, what: `a page on ${of} may hold some` }));
  if (deviceMemory !== undefined && deviceMemory < DEVICE_MEMORY_CAP) limits.push({ bytes: deviceMemory * 2 ** 30, what: "this device has about" });
  return limits.sort((a, b) => a.bytes - b.bytes)[0];
}

/** The warning of a model that takes more than the limit. */
export function lowMemory({ weights, context, work, total }: MemoryUse, limit: MemoryLimit | undefined): LlavaError | undefined {
  if (!limit || total <= limit.bytes) return undefined;
  const parts = `${megabytes(weights)} of weights, ${megabytes(context)} of context, ${megabytes(work)} of work buffers`;
  const problem = `The model takes ${megabytes(total)} of memory (${parts}), and ${limit.what} ${megabytes(limit.bytes)}: the browser may end the page.`;
  return new LlavaError("low_memory", `${problem} Convert it with fewer bits a weight, load it with a shorter \`context_length\`, or take a smaller model.`);
}
