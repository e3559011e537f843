// Node decodes no pictures: what the engine does not know is refused.
import { formatName, formatOf } from "./formats.js";
import { badImage, type Pixels } from "./pixels.js";

/** @throws LlavaError `bad_image`, naming what the file seems to be. */
export async function decodeInBrowser(bytes: Uint8Array): Promise<Pixels> {
  const format = formatOf(bytes);
  if (format && !format.decoder) throw badImage(`it is ${formatName(bytes)}, and no picture`);
  if (!format) throw badImage(`it is ${formatName(bytes)}, and no PNG, JPEG, WebP or GIF. Convert it to one of them`);
  throw badImage(`it seems to be ${formatName(bytes)}, which only browsers decode, if it is not damaged. Convert it to PNG, JPEG, WebP or GIF`);
}

/** @throws LlavaError `bad_image` */
export function draw(_source: unknown, _width: number, _height: number, _emptyProblem: string): Pixels {
  throw badImage("only a browser has its pixels: give the encoded file");
}
