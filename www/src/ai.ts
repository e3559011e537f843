import { LlavaError } from "./errors.js";
import { checkInput, type Input } from "./input.js";
import type { LoadOptions, Result, RunOptions } from "./model.js";
import { SharedModels, type SharedLoadOptions } from "./shared.js";

/** The hosted service's binding: `ai.run(name, input)`. */
export interface AI {
  /**
   * Answers `input` with the model called `name`, which is loaded at its first use. As with the hosted model, `input` may
   * also be the picture alone, as a binary string.
   *
   * @throws LlavaError `no_such_model` for a name that was not given to createAI, else as `load` and `Model.run`.
   */
  run(name: string, input: Input | string, options?: RunOptions & SharedLoadOptions): Promise<Result>;
  /** Frees every model that was loaded. */
  dispose(): void;
}

/** A binding whose models run in this browser, from the URLs given for their names. */
export function createAI(urls: Record<string, string | URL>, options?: Omit<LoadOptions, "signal" | "onProgress">): AI {
  const models = new SharedModels(options);
  return {
    async run(name, input, { onToken, onProgress, signal } = {}) {
      const url = Object.hasOwn(urls, name) ? urls[name] : undefined;
      if (url === undefined) {
        const known = Object.keys(urls).join(", ") || "none";
        throw new LlavaError("no_such_model", `There is no model called ${JSON.stringify(name)}. Given to createAI: ${known}.`);
      }
      const fields = typeof input === "string" ? { image: input } : input;
      checkInput(fields); // a typing error must not cost a download
      const model = await models.get(url, { onProgress, signal });
      return model.run(fields, { onToken, signal });
    },
    dispose: () => models.dispose(),
  };
}
