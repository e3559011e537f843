import type { ModelInfo } from "./info.js";
import { openStore, type Store } from "./store.js";

/** Says for which code the variants were timed: raise it when kernels change. */
const KERNELS = 1;

/**
 * The kernel variants an earlier load found best for `adapter`, `quantization` and `precision`, by operation; none where there is no
 * store. Never rejects: without them the engine just times again.
 */
export function storedVariants(adapter: string, quantization: string, precision: string): Promise<Record<string, string>> {
  return withStore(async (store) => (await store.variants(key(adapter, quantization, precision))) ?? {}, {});
}

/** Keeps what the engine reports for the next load. Never rejects. */
export function keepVariants(adapter: string, { quantization, precision, variants }: ModelInfo): Promise<void> {
  const names = Object.fromEntries(Object.entries(variants).map(([operation, { variant }]) => [operation, variant]));
  return withStore((store) => store.putVariants(key(adapter, quantization, precision), names), undefined);
}

function key(adapter: string, quantization: string, precision: string): string {
  return JSON.stringify([KERNELS, adapter, quantization, precision]);
}

async function withStore<T>(use: (store: Store) => Promise<T>, otherwise: T): Promise<T> {
  try {
    const store = await openStore();
    return await use(store).finally(() => store.close());
  } catch {
    return otherwise;
  }
}
