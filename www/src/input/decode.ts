// Pictures decoded by the browser: of formats that the engine does not know, and whatever a canvas can draw.
import { LlavaError } from "../basics/errors.js";
import { formatName, formatOf } from "./formats.js";
import { badImage, checkSize, tooLarge, type Pixels } from "./pixels.js";

/**
 * The pixels of an encoded picture as an `<img>` would show it, upright. How much of a damaged file is shown is up to the browser:
 * Firefox fills in what is missing, where the engine refuses it. So this is only for files that the engine does not know.
 *
 * @throws LlavaError `bad_image`, naming what the file seems to be, or `too_large`.
 */
export async function decodeInBrowser(bytes: Uint8Array): Promise<Pixels> {
  if (formatOf(bytes)?.decoder === "page") return decodeSvg(bytes);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(blobOf(bytes));
  } catch (error) {
    throw unreadable(bytes, error);
  }
  try {
    return draw(bitmap, bitmap.width, bitmap.height, "it has no pixels");
  } finally {
    bitmap.close();
  }
}

/** `createImageBitmap` takes no SVG, so this needs a page. */
async function decodeSvg(bytes: Uint8Array): Promise<Pixels> {
  if (typeof Image === "undefined") {
    throw badImage(`it seems to be ${formatName(bytes)}, which only a page can draw, not a worker: convert it to PNG`);
  }
  const img = new Image();
  try {
    // Not a blob: URL: a canvas would be closed by SVG from there that holds HTML (<foreignObject>).
    img.src = await dataUrl(blobOf(bytes, "image/svg+xml"));
    await img.decode();
  } catch (error) {
    throw unreadable(bytes, error, ", or the page's Content-Security-Policy has no `img-src data:`");
  }
  return draw(img, img.naturalWidth, img.naturalHeight, "the SVG has no size: give its root element `width` and `height` above 0");
}

/** Pixels of anything a canvas can draw. Colours under full transparency are lost here: canvases premultiply. */
export function draw(source: CanvasImageSource, width: number, height: number, emptyProblem: string): Pixels {
  if (width === 0 || height === 0) throw badImage(emptyProblem);
  checkSize(width, height);
  try {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (!context || !holdsPixels(context)) throw tooLarge(`${width}x${height} pixels`, "lower for a canvas of this browser");
    context.drawImage(source, 0, 0, width, height);
    return { width, height, data: context.getImageData(0, 0, width, height).data };
  } catch (error) {
    if (error instanceof LlavaError) throw error;
    if (error instanceof DOMException && error.name === "SecurityError") {
      throw badImage('its pixels come from another host without CORS: set crossOrigin="anonymous" before src, or pass the URL', error);
    }
    throw badImage("it cannot be drawn", error);
  }
}

/** Canvases larger than a browser can hold draw nothing and do not say so: on iOS those of more than 16 Mi pixels. */
function holdsPixels(context: OffscreenCanvasRenderingContext2D): boolean {
  context.fillRect(0, 0, 1, 1);
  const [, , , alpha] = context.getImageData(0, 0, 1, 1).data;
  context.clearRect(0, 0, 1, 1);
  return alpha === 255;
}

function unreadable(bytes: Uint8Array, cause: unknown, orElse = ""): LlavaError {
  const format = formatOf(bytes);
  if (format && !format.decoder) return badImage(`it is ${formatName(bytes)}, and no picture`, cause);
  const why = `it is damaged, or of a kind that this browser cannot show${orElse}`;
  return badImage(`it seems to be ${formatName(bytes)}; ${why}. Convert it to PNG, JPEG, WebP or GIF`, cause);
}

function blobOf(bytes: Uint8Array, type = ""): Blob {
  return new Blob([bytes as Uint8Array<ArrayBuffer>], { type });
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
