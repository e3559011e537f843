// Pictures beyond the limits, 64 MiB, 64 Mi pixels and 65,535 pixels a side: refused before they are decoded, copied or fetched whole.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openBrowser, ROOT, serveBundles, servePackage } from "./support.mjs";

const MIB = 1024 * 1024;
let browser, site, server, page;
let sent = 0;
before(async () => {
  browser = await openBrowser();
  site = await servePackage({ fake: true });
  server = await serveBundles({}, (path, _, response) => {
    if (path === "declared") return response.writeHead(200, { "content-length": 65 * MIB }).write("x");
    response.writeHead(200);
    const send = () => !response.destroyed && sent < 1000 && response.write(Buffer.alloc(MIB), () => (sent++, send()));
    return (send(), true);
  });
  page = await browser.open(site);
  await page.evaluate(async () => {
    const { readImage } = await import("/build/input/image.js");
    globalThis.read = (make) =>
      globalThis.attempt(async () => {
        const started = performance.now();
        const image = await make();
        globalThis.made = performance.now() - started;
        return (await readImage(image)).length;
      });
  });
});
after(async () => {
  await browser.close();
  await site.close();
  await server.close();
});

const read = (make, argument) => page.evaluate(`globalThis.read(() => (${make})(${JSON.stringify(argument)}))`);

function assertTooLarge({ error, value }, message) {
  assert.deepEqual([error?.code, error?.hosted_code, error?.name], ["too_large", 3006, "LlavaError"], `${error?.message ?? value}`);
  assert.match(error.message, message);
  assert.match(error.message, /Scale it down/);
}

const SVG = (width, height) => `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"/>`;
const LARGE = {
  "a Uint8Array": [() => new Uint8Array(65 * 2 ** 20), /68157440 bytes.* 67108864 bytes/],
  "an ArrayBuffer": [() => new ArrayBuffer(65 * 2 ** 20), /68157440 bytes/],
  "a Uint16Array of so many items": [() => new Uint16Array(65 * 2 ** 20), /68157440 bytes/],
  "a list": [() => new Array(2 ** 32 - 1), /4294967295 bytes/],
  "a Blob": [() => new Blob(Array(65).fill(new Uint8Array(2 ** 20))), /68157440 bytes/],
  "a blob: URL": [() => URL.createObjectURL(new Blob(Array(65).fill(new Uint8Array(2 ** 20)))), /68157440 bytes/],
  "a binary string": [() => "\x89PNG" + "x".repeat(65 * 2 ** 20), /bytes/],
  "a base64 string": [() => "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+K".padEnd(90 * 2 ** 20, "A"), /bytes/],
  "a data: URL": [() => "data:image/png;base64," + "A".repeat(90 * 2 ** 20), /bytes/],
  "SVG source": [() => "<svg>".padEnd(65 * 2 ** 20, "a"), /bytes/],
  "an SVG's pixels": [(svg) => svg, /8193x8192 pixels/, SVG(8193, 8192)],
  "an SVG's side": [(svg) => svg, /65536x1 pixels/, SVG(65536, 1)],
  "a canvas": [() => new OffscreenCanvas(10_000, 10_000), /10000x10000 pixels.* 67108864 pixels/],
  "a long canvas": [() => new OffscreenCanvas(1, 65_536), /1x65536 pixels.*65535 a side/],
  "a long ImageBitmap": [() => createImageBitmap(new ImageData(70_000, 2)), /70000x2 pixels/],
  "an ImageData": [() => new ImageData(8193, 8192), /8193x8192 pixels/],
};
for (const [kind, [make, message, argument]] of Object.entries(LARGE)) {
  test(`refused: ${kind}`, { timeout: 30_000 }, async () => assertTooLarge(await read(make, argument), message));
}

test("refused: what a browser's canvas does not hold, though it does not say so", async () => {
  const outcome = await page.evaluate(async () => {
    const { prototype } = OffscreenCanvasRenderingContext2D;
    const { fillRect } = prototype;
    prototype.fillRect = () => undefined; // as Safari does on iOS above 16 Mi pixels
    try {
      return await globalThis.read(() => document.createElement("canvas"));
    } finally {
      prototype.fillRect = fillRect;
    }
  });
  assertTooLarge(outcome, /300x150 pixels.*canvas of this browser/);
});

test("refused: an answer that says its size, at once", { timeout: 30_000 }, async () => {
  assertTooLarge(await read("(url) => url", `${server.origin}/declared`), /68157440 bytes/);
});

test("refused: an answer that does not, when it is too long, and no more of it is fetched", { timeout: 30_000 }, async () => {
  assertTooLarge(await read("(url) => url", `${server.origin}/endless`), /bytes/);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.ok(sent < 200, `${sent} MiB were sent`);
});

/** The starts of files whose headers say `width` and `height`. */
const HEADERS = {
  PNG: (width, height) => ["\x89PNG\r\n\x1a\n\0\0\0\rIHDR", u32(width), u32(height), "\x08\x02\0\0\0"],
  GIF: (width, height) => ["GIF89a", le(width, 2), le(height, 2), "\0\0\0"],
  JPEG: (width, height) => ["\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xff\xdb\0\x03x", sof(0xc0, width, height)],
  "progressive JPEG": (width, height) => ["\xff\xd8\xff\xfe\0\x04\xff\xc0\xff\xc4\0\x02", sof(0xc2, width, height)],
  WebP: (width, height) => ["RIFF\x30\0\0\0WEBPVP8 \x0a\0\0\0\x30\x01\0\x9d\x01\x2a", le(width, 2), le(height, 2)],
  "lossless WebP": (width, height) => ["RIFF\x30\0\0\0WEBPVP8L\x0a\0\0\0\x2f", le((width - 1) | ((height - 1) << 14), 4)],
  "extended WebP": (width, height) => ["RIFF\x30\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0", le(width - 1, 3), le(height - 1, 3)],
};
const le = (value, bytes) => String.fromCharCode(...Array.from({ length: bytes }, (_, index) => (value >>> (8 * index)) & 255));
const u32 = (value) => String.fromCharCode(...[24, 16, 8, 0].map((shift) => (value >>> shift) & 255));
const sof = (marker, width, height) => `\xff${String.fromCharCode(marker)}\0\x11\x08${u32(height).slice(2)}${u32(width).slice(2)}\x03`;

for (const [format, make] of Object.entries(HEADERS)) {
  test(`by its header: ${format}`, async () => {
    const file = (width, height) => [...Buffer.from(make(width, height).join("") + "\0\0\0\0", "latin1")];
    assert.equal((await read("(file) => file", file(8192, 8192))).error, undefined);
    assertTooLarge(await read("(file) => file", file(8193, 8192)), /8193x8192 pixels/);
    if (format === "PNG" || format === "extended WebP") assertTooLarge(await read("(file) => file", file(5, 65_536)), /5x65536 pixels/);
  });
}

test("headers tell the sizes that the browser finds", async () => {
  const folder = join(ROOT, "fuzz/corpus/image");
  let compared = 0;
  const other = [];
  for (const name of readdirSync(folder)) {
    const [told, found] = await page.evaluate(async (bytes) => {
      const { sizeOf } = await import("/build/input/sizes.js");
      const file = Uint8Array.from(bytes);
      const bitmap = await createImageBitmap(new Blob([file])).catch(() => undefined);
      return [sizeOf(file), bitmap && [bitmap.width, bitmap.height]];
    }, [...readFileSync(join(folder, name))]);
    // Chromium makes the canvas of a GIF as large as what its first frame draws beyond it.
    if (!found || !/\.(png|jpg|webp|gif)$/.test(name) || name.startsWith("beyond_canvas")) continue;
    // Headers say nothing of the orientation.
    if (`${told?.sort()}` !== `${found.sort()}`) other.push(`${name}: ${told}, not ${found}`);
    compared++;
  }
  assert.deepEqual(other, []);
  assert.ok(compared > 30, `${compared} files`);
});
