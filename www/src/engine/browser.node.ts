// In Node nothing is needed of where it runs.

export function needsBrowser(): void {}

export function needsSecureContext(): void {}
