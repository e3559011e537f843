import type { Result } from "./model.js";

/** An answer as it is written: `for await (const piece of stream)`. Leaving the loop early stops the model. */
export class TextStream implements AsyncIterable<string> {
  /** The whole answer, once it is there; rejects as the loop does. */
  readonly result: Promise<Result>;
  #stop = new AbortController();
  #pieces: string[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

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
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) yield piece;
        else if (this.#ended) break;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      await this.result;
    } finally {
      this.#stop.abort();
    }
  }
}
