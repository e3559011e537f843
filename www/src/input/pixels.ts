import { LlavaError } from "../basics/errors.js";

/** RGBA pixels, row by row from the top left, 4 bytes each, not premultiplied. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8ClampedArray;
}

/** What the engine takes: an encoded file, which it decodes itself (EXIF and all), or pixels. */
export type EngineImage = Uint8Array | Pixels;

// The engine has the same limits, in src/image/decode.rs.
/** Most bytes of an encoded picture: decoding something larger would freeze the page before any limit on pixels is reached. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Most pixels of a picture, checked before they are decoded or copied wherever its size can be told. */
const MAX_PIXELS = 64 * 1024 * 1024;
/** Longest side in pixels: what JPEG can hold. Canvases with a longer one draw nothing and do not say so. */
const MAX_SIDE = 65_535;

/** @throws LlavaError `too_large` */
export function checkBytes(bytes: number): void {
  if (bytes > MAX_BYTES) throw tooLarge(`${bytes} bytes`, `${MAX_BYTES} bytes`);
}

/** @throws LlavaError `too_large` */
export function checkSize(width: number, height: number): void {
  if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE) {
    throw tooLarge(`${width}x${height} pixels`, `${MAX_PIXELS} pixels and ${MAX_SIDE} a side`);
  }
}

export function tooLarge(size: string, limit: string): LlavaError {
  return new LlavaError("too_large", `\`image\` is too large: ${size}, and the limit is ${limit}. Scale it down first.`);
}

/** `problem`, the cure included, is the message without its full stop. */
export function badImage(problem: string, cause?: unknown): LlavaError {
  return new LlavaError("bad_image", `\`image\`: ${problem}.`, { cause });
}
