// Every format, given in every way: the engine's own reach it as they are, the browser's as they look in an <img>.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { only, openBrowser, ROOT, serveBundles, servePackage, sha256 } from "./support.mjs";

const read = (path) => readFileSync(join(ROOT, path));
const svg = (attributes, inside = '<rect width="100%" height="100%" fill="red"/>') => `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${inside}</svg>`;
const html = '<foreignObject width="9" height="7"><div xmlns="http://www.w3.org/1999/xhtml" style="background: red; height: 7px"/></foreignObject>';
const prolog = '<?xml version="1.0"?>\n<!-- <svg> -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n';

/** Files that the engine decodes. */
const ENGINE = { png: "rgb.png", jpeg: "photo.jpg", webp: "lossy.webp", gif: "palette.gif" };

/** Files that the browser decodes: media type, contents, size and the colour in the middle. */
const BROWSER = {
  AVIF: ["image/avif", read("tests/e2e/pictures/red.avif"), "40x30", [255, 0, 1, 255]],
  BMP: ["image/bmp", bmp(9, 7, [10, 200, 30]), "9x7", [10, 200, 30, 255]],
  "JPEG, arithmetic-coded": ["image/jpeg", read("tests/e2e/pictures/arithmetic.jpg"), "45x31", [242, 45, 52, 255]],
  ICO: ["image/x-icon", read("tests/e2e/pictures/red.ico"), "32x32", [255, 0, 0, 255]],
  "ICO of two sizes": ["image/x-icon", ico(bmp(16, 16, [255, 0, 0]), bmp(32, 32, [10, 200, 30])), "32x32", [10, 200, 30, 255]],
  SVG: ["image/svg+xml", svg('width="9" height="7"'), "9x7", [255, 0, 0, 255]],
  "SVG with a prolog": ["image/svg+xml", prolog + svg('width="9" height="7"'), "9x7", [255, 0, 0, 255]],
  "SVG after a byte order mark": ["image/svg+xml", "\ufeff" + svg('width="9" height="7"'), "9x7", [255, 0, 0, 255]],
  "SVG in UTF-16": ["image/svg+xml", Buffer.from("\ufeff" + svg('width="9" height="7"'), "utf16le"), "9x7", [255, 0, 0, 255]],
  "SVG with a prefix": ["image/svg+xml", '<s:svg xmlns:s="http://www.w3.org/2000/svg" width="9" height="7"><s:rect width="9" height="7" fill="red"/></s:svg>', "9x7", [255, 0, 0, 255]],
  "SVG without a size": ["image/svg+xml", svg(""), "300x150", [255, 0, 0, 255]],
  "SVG with a viewBox": ["image/svg+xml", svg('viewBox="0 0 40 10"'), "300x75", [255, 0, 0, 255]],
  "SVG with HTML": ["image/svg+xml", svg('width="9" height="7"', html), "9x7", [255, 0, 0, 255]],
  "SVG, half transparent": ["image/svg+xml", svg('width="9" height="7" opacity="0.5"'), "9x7", [255, 0, 0, 128]],
  "SVG with text": ["image/svg+xml", svg('width="90" height="20"', '<text y="15">é漢😀</text><rect x="40" width="20" height="20" fill="red"/>'), "90x20", [255, 0, 0, 255]],
};

/** Firefox has no such decoder, and blurs such a picture when it is drawn. */
const CHROMIUM_ONLY = ["JPEG, arithmetic-coded", "SVG with a viewBox"];

/** Files that no browser here shows, and what the error calls them. */
const NEITHER = {
  TIFF: [Buffer.from("II*\0\x08\0\0\0\0\0", "latin1"), /a TIFF file.*Convert it to PNG/],
  "TIFF, big-endian": [Buffer.from("MM\0*\0\0\0\x08\0\0", "latin1"), /a TIFF file/],
  HEIC: [Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1"), /a HEIC file.*Convert it to PNG/],
  "JPEG 2000": [Buffer.from("\0\0\0\x0cjP  \r\n\x87\n", "latin1"), /a JPEG 2000 file/],
  "damaged AVIF": [read("tests/e2e/pictures/red.avif").subarray(0, 200), /an AVIF file; it is damaged/],
  "damaged BMP": [bmp(9, 7, [1, 2, 3]).subarray(0, 40), /a BMP file; it is damaged/],
  "damaged SVG": [Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'><rect"), /an SVG file; it is damaged/],
  "SVG without area": [Buffer.from(svg('width="0" height="7"')), /`width` and `height`/],
  "a web page": [Buffer.from("<!doctype html>\n<title>Not found</title><svg></svg>"), /an HTML file, and no picture/],
  "a PDF": [Buffer.from("%PDF-1.7\n%\xe2\xe3\xcf\xd3", "latin1"), /a PDF file, and no picture/],
  "a video": [Buffer.from("\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "latin1"), /a video file, and no picture/],
  "a text": [Buffer.from('{"error": "no such picture"}'), /begins with "\{\\"error\\": \\"no such pic/],
  "damaged JPEG, arithmetic-coded": [read("tests/e2e/pictures/arithmetic.jpg").subarray(0, 300), /a JPEG file; it is damaged/],
  bytes: [Buffer.from([1, 2, 3, 255]), /begins with the bytes 01 02 03 ff/],
};

/** Every way to give a file; runs in the page. */
const WAYS = {
  "number[]": ({ bytes }) => [...bytes],
  ArrayBuffer: ({ bytes }) => bytes.buffer,
  Uint8Array: ({ bytes }) => bytes,
  "binary string": ({ bytes }) => globalThis.binary(bytes),
  base64: ({ bytes }) => btoa(globalThis.binary(bytes)),
  Blob: ({ bytes }) => new Blob([bytes]),
  File: ({ bytes, type }) => new File([bytes], "a", { type }),
  "File of another type": ({ bytes }) => new File([bytes], "a.png", { type: "image/png" }),
  URL: ({ url }) => new URL(url),
  "URL as a text": ({ url }) => url,
  "data: URL": ({ bytes, type }) => `data:${type};base64,${btoa(globalThis.binary(bytes))}`,
  "blob: URL": ({ bytes, type }) => URL.createObjectURL(new Blob([bytes], { type })),
};

let browser, site, server, page;
before(async () => {
  browser = await openBrowser();
  site = await servePackage({ fake: true });
  server = await serveBundles({ files: { files: new Map() } });
  page = await browser.open(site);
  await page.evaluate(async () => {
    const [{ readImage }, decode] = await Promise.all([import("/build/input/image.js"), import("/build/input/decode.js")]);
    globalThis.decode = decode;
    globalThis.binary = (bytes) => String.fromCharCode(...bytes);
    const hash = async (bytes) => Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const tell = async ({ width, height, data }) => {
      const middle = 4 * ((height >> 1) * width + (width >> 1));
      return { size: `${width}x${height}`, middle: [...data.subarray(middle, middle + 4)], pixels: await hash(data) };
    };
    /** What a read picture is, or its error. */
    globalThis.look = (work) =>
      globalThis.attempt(async () => {
        const image = await work();
        return image instanceof Uint8Array ? { bytes: await hash(image) } : tell(image);
      });
    globalThis.readers = { readImage };
    /** The same of an <img>. */
    globalThis.shown = async ({ bytes, type }) => {
      const img = Object.assign(new Image(), { src: `data:${type};base64,${btoa(globalThis.binary(bytes))}` });
      await img.decode();
      const [width, height] = [img.naturalWidth, img.naturalHeight];
      const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
      context.drawImage(img, 0, 0);
      return tell(context.getImageData(0, 0, width, height));
    };
  });
});
after(async () => {
  await browser.close();
  await site.close();
  await server.close();
});

/** Runs `work(file)` in the page, with the file as `{ bytes, type, url }`. */
function withFile(contents, type, work) {
  const bytes = Buffer.from(contents);
  server.bundles.files.files.set("a", bytes);
  const file = JSON.stringify({ bytes: [...bytes], type, url: `${server.origin}/files/a` });
  return page.evaluate(`(async () => { const file = ${file}; file.bytes = Uint8Array.from(file.bytes); return (${work})(file); })()`);
}

/** What comes of a file given in each way: `[way, { value | error }]`. */
async function inEveryWay(contents, type) {
  const outcomes = [];
  for (const [way, make] of Object.entries(WAYS)) {
    outcomes.push([way, await withFile(contents, type, `(file) => globalThis.look(() => globalThis.readers.readImage((${make})(file)))`)]);
  }
  return outcomes;
}

for (const [format, name] of Object.entries(ENGINE)) {
  test(`${format}, in every way, reaches the engine as it is`, async () => {
    const bytes = read(`fuzz/corpus/image/${name}`);
    for (const [way, { value, error }] of await inEveryWay(bytes, `image/${format}`)) {
      assert.equal(error, undefined, way);
      assert.deepEqual(value, { bytes: sha256(bytes) }, way);
    }
  });
}

for (const [format, [type, contents, size, middle]] of Object.entries(BROWSER)) {
  test(`${format}, in every way, looks as in an <img>`, CHROMIUM_ONLY.includes(format) ? only("chromium") : {}, async () => {
    const shown = await withFile(contents, type, "globalThis.shown");
    assert.deepEqual([shown.size, shown.middle], [size, middle]);
    for (const [way, { value, error }] of await inEveryWay(contents, type)) {
      assert.equal(error, undefined, way);
      assert.deepEqual(value, shown, way);
    }
  });
}

test("SVG may be given as its source", async () => {
  const source = JSON.stringify(BROWSER["SVG with text"][1]);
  const shown = await withFile(BROWSER["SVG with text"][1], "image/svg+xml", "globalThis.shown");
  for (const image of [source, `"data:image/svg+xml," + encodeURIComponent(${source})`, `"data:image/svg+xml," + ${source}.replaceAll("#", "%23")`]) {
    assert.deepEqual((await page.evaluate(`globalThis.look(() => globalThis.readers.readImage(${image}))`)).value, shown);
  }
});

for (const [format, [contents, message]] of Object.entries(NEITHER)) {
  test(`${format}, in every way, is refused by its name`, async () => {
    for (const [way, { error }] of await inEveryWay(contents, "image/png")) {
      // A text of which nothing says that it is a file is an address.
      if (/no such file \(404\)|answered 400/.test(error?.message)) assert.match(way, /binary string|base64/);
      else {
        assert.deepEqual([error?.code, error?.name], ["bad_image", "LlavaError"], way);
        assert.match(error.message, message, way);
      }
    }
  });
}

/** 36 bytes that grow to 1024x1024 pixels, where the browser knows the format. */
const JXL = Buffer.from("/wr6HwGRCAYBAGAASzgkunkeVbaSBu95EXDn0e7ABz2ShAMA", "base64");
test("JPEG XL, where the browser knows it; else it is refused by its name", async () => {
  for (const [way, { value, error }] of await inEveryWay(JXL, "image/jxl")) {
    if (error) assert.match(error.message, /a JPEG XL file.*Convert it to PNG/, way);
    else assert.equal(value.size, "1024x1024", way);
  }
});

test("a Content-Security-Policy keeps no data: URL from being read, but SVG from being drawn, which is said", async () => {
  const strict = await browser.open(site);
  const outcomes = await strict.evaluate(async ({ png, svg }) => {
    const { readImage } = await import("/build/input/image.js");
    const meta = Object.assign(document.createElement("meta"), { httpEquiv: "Content-Security-Policy", content: "default-src 'self'" });
    document.head.append(meta);
    const image = await globalThis.attempt(() => readImage(png));
    return [image.value?.length, (await globalThis.attempt(() => readImage(svg))).error];
  }, { png: `data:image/png;base64,${read("fuzz/corpus/image/rgb.png").toString("base64")}`, svg: BROWSER.SVG[1] });
  assert.equal(outcomes[0], read("fuzz/corpus/image/rgb.png").length);
  assert.match(outcomes[1].message, /img-src data:/);
  await strict.close();
});

test("in a worker: all but SVG, of which the error says where it can be drawn", async () => {
  const outcomes = await page.evaluate(async (files) => {
    const source = `import { readImage } from "${location.origin}/build/input/image.js";
      onmessage = ({ data }) => readImage(data).then(({ width, length }) => postMessage(width ?? length), ({ code, message }) => postMessage({ code, message }));`;
    const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
    const outcomes = [];
    for (const file of files) {
      worker.postMessage(Uint8Array.from(file));
      outcomes.push(await new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data))));
    }
    worker.terminate();
    return outcomes;
  }, [read("fuzz/corpus/image/rgb.png"), BROWSER.AVIF[1], BROWSER.BMP[1], BROWSER.ICO[1], Buffer.from(BROWSER.SVG[1])].map((file) => [...file]));
  assert.deepEqual(outcomes.slice(0, -1), [read("fuzz/corpus/image/rgb.png").length, 40, 9, 32]);
  assert.equal(outcomes.at(-1).code, "bad_image");
  assert.match(outcomes.at(-1).message, /an SVG file.*worker.*PNG/);
});

/** A BMP of one colour, 24 bits a pixel. */
function bmp(width, height, [red, green, blue]) {
  const row = Math.ceil((3 * width) / 4) * 4;
  const file = Buffer.alloc(54 + row * height);
  file.write("BM");
  file.writeUInt32LE(file.length, 2);
  for (const [at, value] of [[10, 54], [14, 40], [18, width], [22, height], [34, row * height]]) file.writeUInt32LE(value, at);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) file.set([blue, green, red], 54 + y * row + 3 * x);
  return file;
}

/** An ICO of these BMPs: without their file headers, at twice the height, with masks that hide nothing. */
function ico(...pictures) {
  const header = Buffer.alloc(6 + 16 * pictures.length);
  header.writeUInt16LE(1, 2);
  header.writeUInt16LE(pictures.length, 4);
  const bodies = pictures.map((file) => {
    const body = Buffer.concat([file.subarray(14), Buffer.alloc(4 * file.readUInt32LE(22))]);
    body.writeUInt32LE(2 * file.readUInt32LE(22), 8);
    return body;
  });
  let at = header.length;
  bodies.forEach((body, index) => {
    const entry = header.subarray(6 + 16 * index);
    entry.set([body.readUInt32LE(4), body.readUInt32LE(8) / 2]);
    entry.writeUInt16LE(1, 4);
    entry.writeUInt16LE(24, 6);
    entry.writeUInt32LE(body.length, 8);
    entry.writeUInt32LE(at, 12);
    at += body.length;
  });
  return Buffer.concat([header, ...bodies]);
}
