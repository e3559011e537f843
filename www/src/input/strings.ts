import { nameOf } from "../basics/naming.js";
import { formatOf } from "./formats.js";
import { badImage, checkBytes } from "./pixels.js";
import { wellFormed } from "./well-formed.js";

/** Characters of which no URL has any, and every binary file has some near its start. */
const BINARY = /[\0-\x08\x0e-\x1f\x7f-\x9f]/;
/** As many characters as tell what a text is. */
const START = 64;

/**
 * The file that a text holds: a binary string (one character per byte, as from `atob`), SVG source, base64 of a known kind
 * of picture, or a data: URL. Undefined for any other text, which is an address.
 *
 * @throws LlavaError `bad_image` or `too_large`.
 */
export function fileInText(text: string): Uint8Array | undefined {
  const start = text.slice(0, START);
  if (BINARY.test(start)) return fromBinary(text);
  if (/^(?:\xef\xbb\xbf)?\s*</.test(start)) return fromMarkup(text);
  if (/^\s*data:/i.test(start)) return fromDataUrl(text);
  return isBase64Picture(start) && !text.includes(".") ? fromBase64(text) : undefined; // a dot: an address that begins like one
}

function fromBinary(text: string): Uint8Array {
  checkBytes(text.length);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 255) throw badImage(`a binary string holds one character per byte, but character ${index} is ${code}`);
    bytes[index] = code;
  }
  return bytes;
}

/** Source text, or the bytes of a UTF-8 file as a binary string. */
function fromMarkup(text: string): Uint8Array {
  checkBytes(text.length);
  const source = new TextEncoder().encode(text);
  if (source.length === text.length || /[^\0-\xff]/.test(text)) return source;
  const bytes = fromBinary(text);
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return bytes;
  } catch {
    return source;
  }
}

/** Not by `fetch`, which a page's Content-Security-Policy may keep from data: URLs. */
function fromDataUrl(url: string): Uint8Array {
  const comma = url.indexOf(",");
  if (comma === -1) throw badImage("its data: URL has no comma, after which the picture would come");
  const body = percentDecoded(url.slice(comma + 1).replace(/#[^]*/, ""));
  return /;\s*base64\s*$/i.test(url.slice(0, comma)) ? fromBase64(body) : fromBinary(body);
}

/** A binary string. */
function percentDecoded(text: string): string {
  const ascii = wellFormed(text).replace(/[^\0-\x7f]+/g, encodeURIComponent);
  return ascii.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Whether a text begins as the base64 of a picture does; too short a text is none. */
function isBase64Picture(start: string): boolean {
  const digits = start.replace(/\s/g, "").replace(/=+$/, "");
  if (digits.length < 32 || !/^[\w+/-]+$/.test(digits)) return false;
  return formatOf(fromBase64(digits.slice(0, digits.length & ~3)))?.decoder !== undefined;
}

/** Both alphabets, with white space and padding or without. */
function fromBase64(text: string): Uint8Array {
  checkBytes((text.length * 3) / 4);
  let binary: string;
  try {
    binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch (error) {
    throw badImage(`its base64 (${nameOf(text)}) is damaged: encode the file again`, error);
  }
  return fromBinary(binary);
}
