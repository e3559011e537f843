import { aborted, LlavaError } from "./errors.js";

/**
 * Every kind of picture that is taken.
 *
 * Encoded bytes (PNG, JPEG, WebP, GIF): `number[]`, `ArrayBuffer`, any typed array, a binary string (one character per
 * byte, as from `atob`), `Blob` or `File`. A URL: `URL` or a string (http, https, data, blob, or relative to the page).
 * Pixels: `ImageData`, `ImageBitmap`, `VideoFrame`, `<img>`, `<canvas>`, `OffscreenCanvas`, `<video>` (the frame it shows).
 */
export type ImageInput =
  | number[]
  | ArrayBuffer
  | ArrayBufferView
  | string
  | Blob
  | URL
  | ImageData
  | ImageBitmap
  | VideoFrame
  | HTMLImageElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLVideoElement;

/** RGBA pixels, row by row from the top left, 4 bytes each, not premultiplied. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** What the engine takes: an encoded file, which it decodes itself (EXIF and all), or pixels. */
export type EngineImage = Uint8Array<ArrayBuffer> | Pixels;

/** Limit on an encoded picture; decoding something larger would freeze the page before any limit on pixels is reached. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Limit on pixels, checked before they are copied. */
const MAX_PIXELS = 64 * 1024 * 1024;

/** The first bytes of PNG, JPEG, GIF, WebP and BMP files, as characters: tells a binary string from a URL. */
const FILE_STARTS = ["\x89PNG", "\xff\xd8\xff", "GIF8", "RIFF", "BM"];

/**
 * Reads any kind of picture. The caller's own buffers are copied, never detached.
 *
 * @throws LlavaError `bad_image`, `too_large`, `network` or `aborted`.
 */
export async function readImage(image: ImageInput, signal?: AbortSignal): Promise<EngineImage> {
  if (typeof image === "string") return isBinary(image) ? fromBinaryString(image) : fromUrl(image, signal);
  if (image instanceof URL) return fromUrl(image.href, signal);
  if (image instanceof Blob) return fromBlob(image);
  if (Array.isArray(image)) return fromNumbers(image);
  if (image instanceof ArrayBuffer) return encoded(new Uint8Array(image.slice(0)));
  if (ArrayBuffer.isView(image)) return fromView(image);
  if (isA(image, "ImageData")) return fromImageData(image as ImageData);
  if (isA(image, "HTMLImageElement")) return fromImg(image as HTMLImageElement);
  if (isA(image, "HTMLVideoElement")) {
    const video = image as HTMLVideoElement;
    return draw(video, video.videoWidth, video.videoHeight, "the video shows no frame yet: wait for its `loadeddata` event");
  }
  if (isA(image, "VideoFrame")) {
    const frame = image as VideoFrame;
    return draw(frame, frame.displayWidth, frame.displayHeight, "the VideoFrame is closed");
  }
  if (isA(image, "ImageBitmap") || isA(image, "HTMLCanvasElement") || isA(image, "OffscreenCanvas")) {
    const source = image as ImageBitmap | HTMLCanvasElement | OffscreenCanvas;
    return draw(source, source.width, source.height, "it has no pixels (a closed ImageBitmap, or a canvas of width or height 0)");
  }
  throw bad("not a kind of picture that is known: give encoded bytes, a Blob or File, a URL, ImageData, ImageBitmap, <img>, <canvas>, <video> or VideoFrame");
}

/** `instanceof` for a class that this browser or this thread may not have. */
function isA(value: unknown, className: string): boolean {
  const constructor = (globalThis as Record<string, unknown>)[className];
  return typeof constructor === "function" && value instanceof constructor;
}

function bad(problem: string, cause?: unknown): LlavaError {
  return new LlavaError("bad_image", `\`image\`: ${problem}.`, { cause });
}

function encoded(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0) throw bad("it is empty, 0 bytes");
  checkBytes(bytes.length);
  return bytes;
}

function checkBytes(bytes: number): void {
  if (bytes > MAX_BYTES) throw tooLarge(`${bytes} bytes`, `${MAX_BYTES} bytes`);
}

function checkPixels(width: number, height: number): void {
  if (width * height > MAX_PIXELS) throw tooLarge(`${width}x${height} pixels`, `${MAX_PIXELS} pixels`);
}

function tooLarge(size: string, limit: string): LlavaError {
  return new LlavaError("too_large", `\`image\` is too large: ${size}, and the limit is ${limit}. Scale it down first.`);
}

function isBinary(text: string): boolean {
  return FILE_STARTS.some((start) => text.startsWith(start));
}

function fromBinaryString(text: string): EngineImage {
  checkBytes(text.length);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 255) throw bad(`a binary string holds one character per byte, but character ${index} is ${code}`);
    bytes[index] = code;
  }
  return encoded(bytes);
}

function fromNumbers(numbers: ArrayLike<unknown>): EngineImage {
  checkBytes(numbers.length);
  const bytes = new Uint8Array(numbers.length);
  for (let index = 0; index < numbers.length; index++) {
    const value = numbers[index];
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 255) {
      throw bad(`a list of bytes holds whole numbers from 0 to 255, but item ${index} is ${String(value)}`);
    }
    bytes[index] = value as number;
  }
  return encoded(bytes);
}

/** Arrays of one-byte items and DataViews are the file's bytes; wider items each hold one byte, as in `number[]`. */
function fromView(view: ArrayBufferView): EngineImage {
  const { BYTES_PER_ELEMENT = 1 } = view as { BYTES_PER_ELEMENT?: number };
  if (BYTES_PER_ELEMENT > 1) return fromNumbers(view as unknown as ArrayLike<unknown>);
  checkBytes(view.byteLength);
  return encoded(new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice());
}

async function fromBlob(blob: Blob): Promise<EngineImage> {
  checkBytes(blob.size);
  try {
    return encoded(new Uint8Array(await blob.arrayBuffer()));
  } catch (error) {
    if (error instanceof LlavaError) throw error;
    throw bad("the file can no longer be read; choose it again", error);
  }
}

async function fromUrl(url: string, signal?: AbortSignal): Promise<EngineImage> {
  const shown = url.length > 80 ? `${url.slice(0, 80)}…` : url;
  let response: Response;
  try {
    response = await fetch(url, { signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw aborted(signal);
    throw new LlavaError(
      "network",
      `\`image\`: ${shown} cannot be fetched. Check the address; a picture on another host must be served with CORS headers.`,
      { cause: error },
    );
  }
  if (!response.ok) throw bad(`${shown} answered ${response.status} ${response.statusText}`.trimEnd());
  try {
    return await fromBlob(await response.blob());
  } catch (error) {
    if (signal?.aborted) throw aborted(signal);
    throw error;
  }
}

function fromImageData({ width, height, data }: ImageData): EngineImage {
  checkPixels(width, height);
  if (!(data instanceof Uint8ClampedArray)) throw bad("this ImageData has no 8-bit pixels; make it with pixelFormat rgba-unorm8");
  return { width, height, data: new Uint8ClampedArray(data) };
}

async function fromImg(img: HTMLImageElement): Promise<EngineImage> {
  try {
    await img.decode();
  } catch (error) {
    throw bad(`the <img> cannot be decoded (${img.currentSrc.slice(0, 80) || "it has no src"})`, error);
  }
  return draw(img, img.naturalWidth, img.naturalHeight, "the <img> has no size of its own (an SVG without width and height?)");
}

/** Pixels of anything a canvas can draw. Colours under full transparency are lost here: canvases premultiply. */
function draw(source: CanvasImageSource, width: number, height: number, emptyProblem: string): Pixels {
  if (width === 0 || height === 0) throw bad(emptyProblem);
  checkPixels(width, height);
  try {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (!context) throw bad("the browser has no memory left for a canvas of its size");
    context.drawImage(source, 0, 0, width, height);
    return { width, height, data: context.getImageData(0, 0, width, height).data as Uint8ClampedArray<ArrayBuffer> };
  } catch (error) {
    if (error instanceof LlavaError) throw error;
    if (error instanceof DOMException && error.name === "SecurityError") {
      throw bad('its pixels come from another host without CORS: set crossOrigin="anonymous" before src, or pass the URL', error);
    }
    throw bad("it cannot be drawn", error);
  }
}
