/** Threads that help an engine. */
export interface Helpers {
  count: number;
  end(): void;
}

/** Threads of one engine at most: more wait for the same memory. */
const MOST_THREADS = 8;

/** How many help an engine's own thread where there are so many cores. */
export function helperCount(cores: number): number {
  return Math.max(Math.min(cores, MOST_THREADS) - 1, 0);
}
