import { LlavaError } from "../basics/errors.js";
import { classOf, nameOf, shorten } from "../basics/naming.js";

/**
 * The options of a call, checked as far as every call has them: an object, no unknown names, `signal` an AbortSignal, and
 * functions where functions belong.
 *
 * @param call whose options they are, for messages
 * @param known names that are taken; any where absent, as another check follows
 * @throws LlavaError `invalid_input`, naming the option.
 */
export function asOptions<T extends object>(options: T | undefined, call: string, known?: readonly string[]): T {
  if (options === undefined) return {} as T;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw invalid(`The options of ${call} must be an object, but they are ${nameOf(options)}.`);
  }
  for (const [name, value] of entries(options, call)) {
    if (known && !known.includes(name)) throw invalid(`\`${shorten(name)}\` is not an option of ${call}. Known: ${known.join(", ")}.`);
    if (value === undefined) continue;
    if (name === "signal") checkSignal(value);
    else if (/^on[A-Z]/.test(name) && typeof value !== "function") throw invalid(`\`${name}\` must be a function, but it is ${nameOf(value)}.`);
  }
  return options;
}

function entries(options: object, call: string): [string, unknown][] {
  try {
    return Object.entries(options);
  } catch (cause) {
    // What a getter or a proxy of the caller's throws.
    throw new LlavaError("invalid_input", `The options of ${call} cannot be read: one of them throws an error.`, { cause });
  }
}

function checkSignal(value: unknown): void {
  if (classOf(value) === "AbortSignal") return; // also one of another frame
  const cure = classOf(value) === "AbortController" ? "it is an AbortController: give its `signal`" : `it is ${nameOf(value)}`;
  throw invalid(`\`signal\` must be an AbortSignal, but ${cure}.`);
}

function invalid(problem: string): LlavaError {
  return new LlavaError("invalid_input", problem);
}
