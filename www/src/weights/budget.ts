/** Bytes that several may hold together. Whoever began first always gets more, so that nobody waits for what only he could give back. */
export class Budget {
  #limit: number;
  #held = 0;
  /** What each holds, in the order in which they began. */
  #holders = new Map<object, number>();
  #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves when `holder` may have `bytes` more. */
  async take(holder: object, bytes: number): Promise<void> {
    while (this.#held + bytes > this.#limit && !this.#isFirst(holder)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#held += bytes;
    this.#holders.set(holder, (this.#holders.get(holder) ?? 0) + bytes);
  }

  /** Gives back all that `holder` has. */
  giveBack(holder: object): void {
    this.#held -= this.#holders.get(holder) ?? 0;
    this.#holders.delete(holder);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #isFirst(holder: object): boolean {
    const [first] = this.#holders.keys();
    return first === undefined || first === holder;
  }
}
