let persistence: Promise<boolean> | undefined;

/**
 * Asks the browser, once a page, to keep what this site stores. Some browsers ask the visitor, so nothing waits for the
 * answer; a refusal is no error.
 */
export function askToPersist(): Promise<boolean> {
  // Workers cannot ask, and pages without https have no such thing.
  const ask = async () => (await navigator.storage.persisted()) || (await navigator.storage.persist());
  return (persistence ??= ask().catch(() => false));
}
