/** What a file is, by its first bytes. */
export interface Format {
  /** With its article, for messages. */
  name: string;
  /** Who decodes it: the engine, the browser wherever it runs, or only a page, through an `<img>`. Absent: it is no picture. */
  decoder?: "engine" | "browser" | "page";
}

/** Every byte is a character; the first that matches counts. */
const FORMATS: [start: RegExp, format: Format][] = [
  [/^\x89PNG/, { name: "a PNG", decoder: "engine" }],
  [/^\xff\xd8\xff/, { name: "a JPEG", decoder: "engine" }],
  [/^RIFF[^]{4}WEBP/, { name: "a WebP", decoder: "engine" }],
  [/^GIF8[79]a/, { name: "a GIF", decoder: "engine" }],
  [/^[^]{4}ftyp(?:avi[fs]|(?:mif1|msf1)[^]{4,40}avi[fs])/, { name: "an AVIF", decoder: "browser" }],
  [/^[^]{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)/, { name: "a HEIC", decoder: "browser" }],
  [/^(?:\xff\x0a|\0\0\0\x0cJXL )/, { name: "a JPEG XL", decoder: "browser" }],
  [/^(?:\xff\x4f\xff\x51|\0\0\0\x0cjP )/, { name: "a JPEG 2000", decoder: "browser" }],
  [/^(?:II[*+]\0|MM\0[*+])/, { name: "a TIFF", decoder: "browser" }],
  [/^BM[^]{4}\0{4}/, { name: "a BMP", decoder: "browser" }],
  [/^\0\0[\x01\x02]\0[\x01-\xff]\0/, { name: "an ICO", decoder: "browser" }],
  [/^8BPS/, { name: "a Photoshop", decoder: "browser" }],
  [/^\s*<(?:!doctype\s+html|html)\b/i, { name: "an HTML" }],
  [/^\s*<(?:\?xml|!--|!doctype\s+svg|(?:\w+:)?svg)/i, { name: "an SVG", decoder: "page" }],
  [/^%PDF/, { name: "a PDF" }],
  [/^(?:[^]{4}ftyp|\x1aE\xdf\xa3)/, { name: "a video" }],
];

/** What the file that begins with `bytes` is; undefined where none of its formats is known here. */
export function formatOf(bytes: Uint8Array): Format | undefined {
  const start = textStart(bytes);
  return FORMATS.find(([pattern]) => pattern.test(start))?.[1];
}

/** What a file is, for messages: its format, or how it begins. */
export function formatName(bytes: Uint8Array): string {
  const name = formatOf(bytes)?.name;
  if (name) return `${name} file`;
  const start = textStart(bytes.subarray(0, 24));
  if (/^[\s\x20-\x7e]+$/.test(start)) return `a file that begins with ${JSON.stringify(start)}`;
  return `a file that begins with the bytes ${Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join(" ")}`;
}

/** The first bytes as characters; those of a text without the marks of UTF-8 and UTF-16. */
function textStart(bytes: Uint8Array): string {
  const start = String.fromCharCode(...bytes.subarray(0, 256));
  return /^(?:\xff\xfe|\xfe\xff)/.test(start) ? start.slice(2).replaceAll("\0", "") : start.replace(/^\xef\xbb\xbf/, "");
}
