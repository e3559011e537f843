// What this thread's Content-Security-Policy has blocked. The browser tells it by an event alone: what was blocked only fails.

const blocked = new Map<string, string>();

/** Begins to listen; more than once is as good as once. */
export function watchPolicy(): void {
  globalThis.addEventListener?.("securitypolicyviolation", note);
}

function note(event: Event): void {
  const { blockedURI, effectiveDirective } = event as SecurityPolicyViolationEvent;
  blocked.set(blockedURI, effectiveDirective);
}

/** The directive that blocked `address`; undefined where none did. Needs a moment, as the event follows the failure. */
export async function blockedBy(address: string): Promise<string | undefined> {
  await new Promise((resolve) => setTimeout(resolve, 0));
  for (const [uri, directive] of blocked) if (uri !== "" && address.startsWith(uri)) return directive;
  return undefined;
}

/** What to do about it, for messages. */
export function policyCure(directive: string, address: string): string {
  const origin = address.startsWith("blob:") ? "blob:" : address.startsWith("data:") ? "data:" : new URL(address).origin;
  const allow = origin === globalThis.location?.origin ? "'self'" : origin;
  return `The Content-Security-Policy forbids it: add ${allow} to its ${directive}.`;
}
