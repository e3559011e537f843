/** Width and height, as a PNG, JPEG, WebP or GIF file's header tells them; undefined where it does not. Turns are not applied. */
export function sizeOf(bytes: Uint8Array): [width: number, height: number] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    switch (view.getUint32(0)) {
      case 0x89504e47: // \x89PNG; IHDR comes first
        return [view.getUint32(16), view.getUint32(20)];
      case 0x47494638: // GIF8
        return [view.getUint16(6, true), view.getUint16(8, true)];
      case 0x52494646: // RIFF
        return sizeOfWebp(view);
      default: {
        const frame = jpegFrame(bytes);
        return frame === undefined ? undefined : [view.getUint16(frame + 7), view.getUint16(frame + 5)];
      }
    }
  } catch (error) {
    // The file ends within its header: the decoder has the words for that.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** By the kind of its first chunk: extended, lossless or lossy. */
function sizeOfWebp(view: DataView): [number, number] | undefined {
  switch (view.getUint32(12)) {
    case 0x56503858: // VP8X
      return [(view.getUint32(24, true) & 0xffffff) + 1, (view.getUint32(27, true) & 0xffffff) + 1];
    case 0x5650384c: // VP8L
      return [(view.getUint32(21, true) & 0x3fff) + 1, ((view.getUint32(21, true) >>> 14) & 0x3fff) + 1];
    case 0x56503820: // VP8
      return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    default:
      return undefined;
  }
}

/** Whether it is an arithmetic-coded JPEG, which some browsers decode and the engine does not. */
export function isArithmetic(bytes: Uint8Array): boolean {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  const marker = bytes[(jpegFrame(bytes) ?? 0) + 1];
  return marker === 0xc9 || marker === 0xca;
}

/** Where a JPEG's frame header is, which comes after any number of other segments. */
function jpegFrame(bytes: Uint8Array): number | undefined {
  for (let at = 2; at + 3 < bytes.length; ) {
    const marker = bytes[at] === 0xff ? bytes[at + 1]! : 0xff;
    if (marker === 0xff) at += 1; // fill bytes, or whatever damage lies between segments
    else if (marker === 0xda) return undefined; // coded data, and no frame before it
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return at;
    else at += marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8) ? 2 : 2 + bytes[at + 2]! * 256 + bytes[at + 3]!; // some markers stand alone
  }
  return undefined;
}
