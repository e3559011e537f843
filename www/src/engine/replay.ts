/** An answer that may be given more than once, and is told once: what is given again must begin with what was told. */
export class Replay {
  #tell: (piece: string, tokens: number) => void;
  #told = "";
  /** What was given since the last restart. */
  #given = "";

  constructor(tell: (piece: string, tokens: number) => void) {
    this.#tell = tell;
  }

  /** The answer begins again. */
  restart(): void {
    this.#given = "";
  }

  /** Takes the next piece and tells what is new of it; false, with nothing told, where it is not what was told before. */
  take(piece: string, tokens: number): boolean {
    const given = (this.#given += piece);
    const told = this.#told;
    if (given.length <= told.length) return told.startsWith(given);
    if (!given.startsWith(told)) return false;
    this.#told = given;
    this.#tell(given.slice(told.length), tokens);
    return true;
  }

  /** Whether all that was told has been given again. */
  get caughtUp(): boolean {
    return this.#given.length >= this.#told.length;
  }
}
