/**
 * `text` with U+FFFD for every half of a character, as a text has that was cut through an emoji: Rust knows only whole ones.
 * `String.prototype.toWellFormed`, which browsers have had only since 2023.
 */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
