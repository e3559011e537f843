// What this thread's Content-Security-Policy has blocked. The browser tells it by an event alone: what was blocked only fails.

const blocked = new Map<string, string>();

/** Begins to listen; more than once is as good as once. */
export function watchPolicy(): void {
  globalThis.addEventListener?.("securitypolicyviolation", note);
}

function note(event: Event): void {
  const { blockedURI, effectiveDirective } = event as SecurityPolicyViolationEvent;
  if (blockedURI !== "") blocked.set(blockedURI, effectiveDirective);
}

/**
 * What to do about the policy that blocked `address` (which may be relative to the page); undefined where none did. Needs a
 * moment, as the event follows the failure.
 */
export async function blockedCure(address: string): Promise<string | undefined> {
  await new Promise((resolve) => setTimeout(resolve, 0));
  const { href, protocol, origin } = new URL(address, globalThis.location?.href);
  for (const [uri, directive] of blocked) {
    if (!href.startsWith(uri)) continue;
    const source = origin === globalThis.origin ? "'self'" : origin;
    const allow = protocol === "blob:" || protocol === "data:" ? protocol : source;
    return `The Content-Security-Policy forbids it: add ${allow} to its ${directive}.`;
  }
  return undefined;
}
