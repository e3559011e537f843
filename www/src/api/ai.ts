import { LlavaError } from "../basics/errors.js";
import { nameOf, shorten } from "../basics/naming.js";
import type { Input } from "../input/input.js";
import { checkDevice } from "./configure.js";
import type { RunOptions } from "./model.js";
import { asOptions } from "./options.js";
import type { Result } from "./result.js";
import { runShared, SHARED_OPTIONS, SharedModels, type CommonLoadOptions, type SharedLoadOptions } from "./shared.js";

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

/**
 * A binding whose models run in this browser, from the URLs given for their names.
 *
 * @throws LlavaError `invalid_input` for `urls` or options of the wrong type
 */
export function createAI(urls: Record<string, string | URL>, options: CommonLoadOptions & { idle_timeout?: number } = {}): AI {
  const { idle_timeout, ...common } = asOptions(options, "createAI");
  if (typeof urls !== "object" || urls === null) {
    throw new LlavaError("invalid_input", "createAI takes an object of URLs by model name, like { \"@cf/llava-hf/llava-1.5-7b-hf\": url }.");
  }
  checkDevice(common.device);
  const models = new SharedModels(common, () => idle_timeout);
  return {
    async run(name, input, options = {}) {
      const given = asOptions(options, "run", SHARED_OPTIONS);
      const url = Object.hasOwn(urls, name) ? urls[name] : undefined;
      if (url === undefined) {
        const known = Object.keys(urls).map(shorten).join(", ") || "none";
        throw new LlavaError("no_such_model", `There is no model called ${nameOf(name)}. Given to createAI: ${known}.`);
      }
      return runShared(models, url, typeof input === "string" ? { image: input } : input, given);
    },
    dispose: () => models.dispose(),
  };
}
