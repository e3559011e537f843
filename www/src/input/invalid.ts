import { LlavaError } from "../basics/errors.js";
import { nameOf } from "../basics/naming.js";

/** Errors of a field of the input; each message begins with the field's name. */
export function invalid(field: string, problem: string): LlavaError {
  return new LlavaError("invalid_input", `\`${field}\` ${problem}.`);
}

export function wrongType(field: string, wanted: string, value: unknown): LlavaError {
  return invalid(field, `must be ${wanted}, but it is ${nameOf(value)}`);
}

export function missing(field: string, cure: string): LlavaError {
  return new LlavaError("missing_input", `\`${field}\` is missing: ${cure}.`);
}
