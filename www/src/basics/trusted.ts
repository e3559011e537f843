// Pages whose policy has `require-trusted-types-for 'script'` start a worker only of an address that a policy of theirs has passed.
import { LlavaError } from "./errors.js";

interface Policies {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

let policy: ReturnType<Policies["createPolicy"]> | undefined;

/**
 * `url`, which is the package's own or was given by the page, in the form that starts a worker here.
 *
 * @throws LlavaError `engine_failed` where the page has a list of such policies without this one.
 */
export function trusted(url: string): string {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  try {
    policy ??= policies?.createPolicy("llava-web", { createScriptURL: (url) => url });
  } catch (cause) {
    throw new LlavaError("engine_failed", "The Content-Security-Policy forbids to start the engine's worker: add llava-web to its trusted-types.", { cause });
  }
  return policy ? policy.createScriptURL(url) : url;
}
