import type { Result } from "./result.js";

/**
 * An answer as it is written: `for await (const piece of stream)`. Every loop gets the whole of it from its start, whenever it
 * begins. The model stops when a loop is left early and no other one is running.
 */
export class TextStream implements AsyncIterable<string> {
  /** The whole answer, once it is there; rejects as the loops do. */
  readonly result: Promise<Result>;
  #stop = new AbortController();
  #pieces: string[] = [];
  #ended = false;
  #loops = 0;
  /** What the loops that have shown every piece wait for. */
  #news = new Set<() => void>();

  /** Starts `run` at once. It writes through `onToken` and must stop when `stop` fires. */
  constructor(run: (stop: AbortSignal, onToken: (piece: string) => void) => Promise<Result>) {
    this.result = run(this.#stop.signal, (piece) => {
      this.#pieces.push(piece);
      this.#wake();
    }).finally(() => {
      this.#ended = true;
      this.#wake();
    });
    // Whoever only loops gets the failure from the loop.
    this.result.catch(() => undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    this.#loops++;
    try {
      let shown = 0;
      while (shown < this.#pieces.length || !this.#ended) {
        if (shown < this.#pieces.length) yield this.#pieces[shown++]!;
        else await new Promise<void>((resolve) => this.#news.add(resolve));
      }
      await this.result;
    } finally {
      this.#loops--;
      if (this.#loops === 0) this.#stop.abort();
    }
  }

  #wake(): void {
    for (const resolve of this.#news) resolve();
    this.#news.clear();
  }
}
