import type { LoadProgress } from "../basics/info.js";

/** Shortest time between two reports, in ms: often enough for a smooth bar. */
const INTERVAL = 50;

/** Adds up what the loader does and reports it, never going backwards within a phase. */
export class Progress {
  #report: (progress: LoadProgress) => void;
  #last: LoadProgress = { phase: "start", loaded: 0, total: 0, from_cache: 0 };
  #lastAt = -Infinity;
  #total = 0;
  #stored = 0;
  #handed = 0;
  /** Bytes received of each file that is fetched. */
  #received = new Map<number, number>();

  constructor(report: (progress: LoadProgress) => void) {
    this.#report = report;
    report(this.#last);
  }

  /** The plan: the model's size, and how much of it is stored. */
  plan(total: number, stored: number): void {
    this.#total = total;
    this.#stored = stored;
    this.#update();
  }

  /** A file that was counted as stored turned out to be damaged. */
  damaged(bytes: number): void {
    this.#stored -= bytes;
    this.#update();
  }

  /** `bytes` of file `index` have come over the network so far. */
  received(index: number, bytes: number): void {
    this.#received.set(index, bytes);
    this.#update();
  }

  /** `bytes` more were handed to the engine. */
  handed(bytes: number): void {
    this.#handed += bytes;
    this.#update();
  }

  /** The engine has everything; its programs are compiled now. */
  compiling(): void {
    this.#tell({ phase: "compile", loaded: this.#total, total: this.#total, from_cache: this.#stored });
  }

  #update(): void {
    let here = this.#stored;
    for (const bytes of this.#received.values()) here += bytes;
    const phase = here < this.#total ? "download" : "load";
    let loaded = Math.min(phase === "download" ? here : this.#handed, this.#total);
    if (phase === this.#last.phase) loaded = Math.max(loaded, this.#last.loaded);
    const next: LoadProgress = { phase, loaded, total: this.#total, from_cache: this.#stored };
    const now = performance.now();
    const waits = phase === this.#last.phase && loaded < this.#total && now - this.#lastAt < INTERVAL;
    if (waits || JSON.stringify(next) === JSON.stringify(this.#last)) return;
    this.#lastAt = now;
    this.#tell(next);
  }

  #tell(progress: LoadProgress): void {
    this.#last = progress;
    this.#report(progress);
  }
}
