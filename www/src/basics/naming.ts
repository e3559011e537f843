// Values in messages: of one of the caller's never more than a line has room for, and none makes these throw.

/** The most characters of a value that a message quotes. */
const QUOTED = 40;

/** The start of a text. */
export function shorten(text: string): string {
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
}

/** The name of a built-in class, also of an object that comes from another frame, where `instanceof` knows nothing of it. */
export function classOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}

/** A value in a few words. */
export function nameOf(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(shorten(value));
    case "bigint":
      return `${shorten(String(value))}n`;
    case "symbol":
    case "function":
      return `a ${typeof value}`;
    case "object":
      return value === null ? "null" : nameOfObject(value);
    default:
      return String(value);
  }
}

function nameOfObject(value: object): string {
  try {
    if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
    const name: unknown = value.constructor?.name;
    return `of type ${shorten(typeof name === "string" && name !== "" ? name : classOf(value))}`;
  } catch {
    return "an object that cannot be read";
  }
}

/** Bytes of a size. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
