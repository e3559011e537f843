// Waiting that an AbortSignal ends.
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
