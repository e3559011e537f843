// What a browser does in its own way: addresses, what is behind them, where the package's files are. Node has host.node.ts instead.
import { LlavaError } from "./errors.js";
import { nameOf } from "./naming.js";

/** The end of a message about an address that cannot be reached. */
export const ANOTHER_HOST = "; another host must send CORS headers";

/** What is said of an address behind which there is nothing. */
export const NO_SUCH_FILE = "there is no such file (404)";

/** What an image may be here. */
export const PICTURES = "encoded bytes, a Blob or File, a URL, ImageData, ImageBitmap, <img>, <canvas>, <video> or VideoFrame";

/** What to do where the package's files are not. */
export const FILES_CURE = "Copy dist/llava-web/ of the package beside the bundle, or say where it is: configure({ worker, wasm, model }).";

/**
 * A URL that may be relative to the page.
 *
 * @throws LlavaError `invalid_input`
 */
export function absolute(address: string | URL): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  try {
    return new URL(String(address), base).href;
  } catch (cause) {
    throw new LlavaError("invalid_input", `Not a valid URL: ${nameOf(String(address))}.`, { cause });
  }
}

/** A Blob's bytes. */
export function bytesOfBlob(blob: Blob): Promise<ArrayBuffer> {
  return blob.arrayBuffer();
}

/** Calls `work` after `ms` milliseconds, if the program is still there. */
export function later(work: () => void, ms: number): ReturnType<typeof setTimeout> {
  return setTimeout(work, ms);
}

/** As `fetch`. */
export function fetchUrl(address: string | URL, options?: RequestInit): Promise<Response> {
  return fetch(address, options);
}
