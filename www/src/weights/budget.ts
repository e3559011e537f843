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

  /** Resolves when `holder` may hold `bytes`, in place of what it held. */
  async hold(holder: object, bytes: number): Promise<void> {
    const more = () => bytes - (this.#holders.get(holder) ?? 0);
    while (more() > 0 && this.#held + more() > this.#limit && !this.#isFirst(holder)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const grown = more();
    this.#held += grown;
    this.#holders.set(holder, bytes);
    if (grown < 0) this.#wake();
  }

  /** Gives back all that `holder` has. */
  giveBack(holder: object): void {
    this.#held -= this.#holders.get(holder) ?? 0;
    this.#holders.delete(holder);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #isFirst(holder: object): boolean {
    const [first] = this.#holders.keys();
    return first === undefined || first === holder;
  }
}
