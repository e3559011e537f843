/** Threads that help an engine. */
export interface Helpers {
  count: number;
  end(): void;
}

/** Threads of one engine at most: more wait for the same memory. */
const MOST_THREADS = 8;

/** How many help an engine's own thread where there are so many `cores`. */
export function helpersAt(cores: number): number {
  return Math.max(Math.min(cores, MOST_THREADS) - 1, 0);
}

/** Starts as many as are `wanted`. `start` resolves to nothing where none can be started. */
export async function startTeam(wanted: number, start: () => Promise<{ terminate(): unknown } | undefined>): Promise<Helpers> {
  const started = await Promise.all(Array.from({ length: wanted }, start));
  const running = started.filter((thread) => thread !== undefined);
  return { count: running.length, end: () => running.forEach((thread) => void thread.terminate()) };
}
