import { PATIENCE, unlessAborted, within } from "../basics/abort.js";
import { aborted, LlavaError } from "../basics/errors.js";
import type { Global } from "../basics/global.js";
import { ANOTHER_HOST, bytesOfBlob, fetchUrl, NO_SUCH_FILE, PICTURES } from "../basics/host.js";
import { classOf, nameOf, shorten } from "../basics/naming.js";
import { blockedCure, watchPolicy } from "../basics/policy.js";
import { decodeInBrowser, draw } from "./decode.js";
import { formatOf } from "./formats.js";
import { badImage, checkBytes, checkSize, type EngineImage } from "./pixels.js";
import { isArithmetic, sizeOf } from "./sizes.js";
import { fileInText } from "./strings.js";

/**
 * Every kind of picture that is taken: at most 64 MiB, 64 Mi pixels and 65,535 pixels a side.
 *
 * Encoded bytes: `number[]`, `ArrayBuffer`, `SharedArrayBuffer`, any typed array, a binary string (one character per byte, as
 * from `atob`), a base64 string, SVG source, `Blob` or `File`. PNG, JPEG, WebP and GIF (the first frame) anywhere; every other
 * format that the browser shows in an `<img>` (AVIF, BMP, ICO; some have HEIC, TIFF or JPEG XL) as it looks there; SVG in a
 * page, not in a worker. A URL: `URL` or a string (http, https, data, blob, or relative to the page).
 *
 * In Node: encoded bytes and Blobs of PNG, JPEG, WebP and GIF, and URLs of any kind or the path of a file.
 *
 * Pixels: `ImageData`, `ImageBitmap`, `VideoFrame`, `<img>`, `<canvas>`, `OffscreenCanvas`, `<video>` (the frame it shows).
 */
export type ImageInput =
  | number[]
  | ArrayBufferLike
  | ArrayBufferView
  | string
  | Blob
  | URL
  | Global<"ImageData">
  | Global<"ImageBitmap">
  | Global<"VideoFrame">
  | Global<"HTMLImageElement">
  | Global<"HTMLVideoElement">
  | Global<"HTMLCanvasElement">
  | Global<"OffscreenCanvas">;

/**
 * Reads any kind of picture. The caller's own buffers are copied, never detached. Files of the formats that the engine decodes
 * are given back as they are, unless their header says that they are too large; whether they are whole shows only in decoding.
 *
 * @throws LlavaError `bad_image`, `too_large`, `network` or `aborted`.
 */
export async function readImage(image: ImageInput, signal?: AbortSignal): Promise<EngineImage> {
  if (signal?.aborted) throw aborted(signal);
  try {
    // Nobody need wait for a file that is slow to read, or for an `<img>` that never loads.
    return await unlessAborted(read(image, signal), signal);
  } catch (error) {
    if (error instanceof LlavaError) throw error;
    // Whatever an object of the caller's throws when it is looked at: a getter, a proxy, an element of a frame that is gone.
    throw badImage(`it cannot be read, it is ${nameOf(image)}`, error);
  }
}

async function read(image: unknown, signal?: AbortSignal): Promise<EngineImage> {
  if (typeof image === "string") return fromText(image, signal);
  if (ArrayBuffer.isView(image)) return fromView(image);
  switch (classOf(image)) {
    case "Array":
      return fromFile(bytesOf(image as unknown[]));
    case "ArrayBuffer":
    case "SharedArrayBuffer":
      return fromBuffer(image as ArrayBufferLike);
    case "Blob":
    case "File":
      return fromBlob(image as Blob);
    case "URL":
      return fromText(String(image), signal);
    case "ImageData":
      return fromImageData(image as ImageData);
    case "HTMLImageElement":
      return fromImg(image as HTMLImageElement);
    case "HTMLVideoElement": {
      const video = image as HTMLVideoElement;
      return draw(video, video.videoWidth, video.videoHeight, "the video shows no frame yet: wait for its `loadeddata` event");
    }
    case "VideoFrame": {
      const frame = image as VideoFrame;
      return draw(frame, frame.displayWidth, frame.displayHeight, "the VideoFrame is closed");
    }
    case "ImageBitmap":
    case "HTMLCanvasElement":
    case "OffscreenCanvas": {
      const source = image as ImageBitmap | HTMLCanvasElement | OffscreenCanvas;
      return draw(source, source.width, source.height, "it has no pixels (a closed ImageBitmap, or a canvas of width or height 0)");
    }
    default:
      throw badImage(`it is ${nameOf(image)}, not a kind of picture that is known: give ${PICTURES}`);
  }
}

/** An encoded file that is the caller's no more. */
async function fromFile(bytes: Uint8Array): Promise<EngineImage> {
  if (bytes.length === 0) throw badImage("it is empty, 0 bytes");
  if (formatOf(bytes)?.decoder !== "engine") return decodeInBrowser(bytes);
  const size = sizeOf(bytes);
  if (size) checkSize(...size);
  return isArithmetic(bytes) ? decodeInBrowser(bytes) : bytes;
}

async function fromText(text: string, signal?: AbortSignal): Promise<EngineImage> {
  if (text.trim() === "") throw badImage("it is an empty text: give a URL, or a file as base64 or as a binary string");
  return fromFile(fileInText(text) ?? (await fetchFile(text, signal)));
}

function bytesOf(numbers: ArrayLike<unknown>): Uint8Array {
  checkBytes(numbers.length);
  const bytes = new Uint8Array(numbers.length);
  for (let index = 0; index < numbers.length; index++) {
    const value = numbers[index];
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 255) {
      const hint = typeof value === "object" || typeof value === "string" ? "; one picture is taken, not a list of pictures" : "";
      throw badImage(`a list of bytes holds whole numbers from 0 to 255, but item ${index} is ${nameOf(value)}${hint}`);
    }
    bytes[index] = value as number;
  }
  return bytes;
}

/** Arrays of one-byte items and DataViews are the file's bytes; wider items each hold one byte, as in `number[]`. */
async function fromView(view: ArrayBufferView): Promise<EngineImage> {
  checkAttached(view.buffer);
  if ("BYTES_PER_ELEMENT" in view && (view.BYTES_PER_ELEMENT as number) > 1) return fromFile(bytesOf(view as unknown as ArrayLike<unknown>));
  checkBytes(view.byteLength);
  return fromFile(new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice());
}

async function fromBuffer(buffer: ArrayBufferLike): Promise<EngineImage> {
  checkAttached(buffer);
  checkBytes(buffer.byteLength);
  return fromFile(new Uint8Array(buffer).slice());
}

/** A buffer that was handed to another thread looks empty, and a view on it too. */
function checkAttached(buffer: ArrayBufferLike): void {
  try {
    new Uint8Array(buffer);
  } catch (error) {
    throw badImage("its buffer is detached: it was transferred to another thread; pass a copy there, or here", error);
  }
}

async function fromBlob(blob: Blob): Promise<EngineImage> {
  checkBytes(blob.size);
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await bytesOfBlob(blob));
  } catch (error) {
    throw badImage("the file can no longer be read; choose it again", error);
  }
  return fromFile(bytes);
}

async function fetchFile(url: string, signal?: AbortSignal): Promise<Uint8Array> {
  const failed = (problem: string, cause: unknown) => new LlavaError("network", `\`image\`: ${shorten(url)} ${problem}`, { cause });
  const end = new AbortController();
  const beforeStall = <T>(work: Promise<T>) => within(work, PATIENCE, () => failed(`sent nothing for ${PATIENCE / 1000} s.`, undefined));
  watchPolicy();
  try {
    const answer = fetchUrl(url, { signal: signal ? AbortSignal.any([signal, end.signal]) : end.signal }).catch(async (error: unknown) => {
      if (error instanceof LlavaError) throw error;
      const cure = URL.canParse(url, globalThis.location?.href) ? await blockedCure(url) : undefined;
      if (cure) throw failed(`was not fetched. ${cure}`, error);
      throw failed(`cannot be fetched. Check the address${ANOTHER_HOST}.`, error);
    });
    const response = await beforeStall(answer);
    if (response.status === 404) throw badImage(`${shorten(url)}: ${NO_SUCH_FILE}`);
    if (!response.ok) throw badImage(`${shorten(url)} answered ${response.status} ${shorten(response.statusText)}`.trimEnd());
    checkBytes(Number(response.headers.get("content-length")));
    const reader = response.body!.getReader();
    return await readBody(() => beforeStall(reader.read()));
  } catch (error) {
    throw error instanceof LlavaError ? error : failed("broke off while it was read. Try again.", error);
  } finally {
    end.abort(); // whatever is left of it is not wanted
  }
}

async function readBody(read: () => Promise<ReadableStreamReadResult<Uint8Array>>): Promise<Uint8Array> {
  const pieces: BlobPart[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await read();
    if (done) return new Uint8Array(await new Blob(pieces).arrayBuffer());
    size += value.length;
    checkBytes(size);
    pieces.push(value as BlobPart);
  }
}

function fromImageData({ width, height, data }: ImageData): EngineImage {
  checkSize(width, height);
  if (classOf(data) !== "Uint8ClampedArray") throw badImage("this ImageData has no 8-bit pixels; make it with pixelFormat rgba-unorm8");
  checkAttached(data.buffer);
  return { width, height, data: new Uint8ClampedArray(data) };
}

async function fromImg(img: HTMLImageElement): Promise<EngineImage> {
  // One that waits to be scrolled to may wait for ever.
  if (img.loading === "lazy" && !img.complete) {
    img = img.cloneNode() as HTMLImageElement;
    img.loading = "eager";
  }
  try {
    await img.decode();
  } catch (error) {
    throw badImage(`the <img> cannot be decoded (${shorten(img.currentSrc || img.src) || "it has no src"})`, error);
  }
  return draw(img, img.naturalWidth, img.naturalHeight, "the <img> has no size of its own (an SVG without width and height?)");
}
