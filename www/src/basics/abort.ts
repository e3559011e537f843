// Waiting that has an end: by an AbortSignal, or by time.
import { aborted } from "./errors.js";

/**
 * What `work` resolves to, unless `signal` fires first: whoever aborts need not wait for work that cannot be stopped.
 *
 * @throws LlavaError `aborted`, or what `work` throws.
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    void work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** A connection that sends nothing for this long, in ms, is given up. */
export const PATIENCE = 30_000;

/** What `work` resolves to, if it does so within `ms` milliseconds; else it rejects with what `error` makes. */
export async function within<T>(work: Promise<T>, ms: number, error: () => unknown): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(error()), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws LlavaError `aborted` */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    function stop(): void {
      clearTimeout(timer);
      reject(aborted(signal));
    }
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
  });
}
