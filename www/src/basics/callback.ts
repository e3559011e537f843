import { LlavaError } from "./errors.js";

/**
 * A function that the caller has given to be told something. What it throws ends the call that it was given to, with an error of ours.
 *
 * @param name of the option, for messages
 */
export function callback<Told extends unknown[]>(name: string, call: ((...told: Told) => void) | undefined): (...told: Told) => void {
  return (...told) => {
    try {
      call?.(...told);
    } catch (cause) {
      const message = cause instanceof Error ? `: ${cause.message}` : "";
      throw new LlavaError("invalid_input", `\`${name}\` has thrown an error, which ends the call${message}`, { cause });
    }
  };
}
