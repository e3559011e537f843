import type { ModelInfo } from "../basics/info.js";
import { openStore, type Store } from "../weights/store.js";

/** Says for which code the variants were timed: raise it when kernels change. */
const KERNELS = 8;

/**
 * The kernel variants an earlier load found best on `adapter` for what `asked` names (`Engine.variants_key`), by operation; none where
 * there is no store. Never rejects: without them the engine just times again.
 */
export function storedVariants(adapter: string, asked: string): Promise<Record<string, string>> {
  return withStore(async (store) => (await store.variants(key(adapter, asked))) ?? {}, {});
}

/** Keeps what the engine reports for the next load. Never rejects. */
export function keepVariants(adapter: string, asked: string, { variants }: ModelInfo): Promise<void> {
  return withStore((store) => store.putVariants(key(adapter, asked), namesOf(variants)), undefined);
}

/** The variant of each operation. */
export function namesOf(variants: ModelInfo["variants"]): Record<string, string> {
  return Object.fromEntries(Object.entries(variants).map(([operation, { variant }]) => [operation, variant]));
}

function key(adapter: string, asked: string): string {
  return JSON.stringify([KERNELS, adapter, asked]);
}

async function withStore<T>(use: (store: Store) => Promise<T>, otherwise: T): Promise<T> {
  try {
    const store = await openStore();
    return await use(store).finally(() => store.close());
  } catch {
    return otherwise;
  }
}
