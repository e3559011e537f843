// Every kind of picture, as it reaches the engine: a file as its very bytes, anything drawn as its pixels.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { load, makeBundle, openBrowser, serveBundles, servePackage, sha256 } from "./support.mjs";

/** A PNG of 2x1 pixels: red, then blue at half transparency. */
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEElEQVR42mP4z8DwH4gaABMBA/+0RRB5AAAAAElFTkSuQmCC", "base64");

let browser, site, server, page;
before(async () => {
  browser = await openBrowser();
  site = await servePackage({ fake: true });
  server = await serveBundles({ m: makeBundle(), pictures: { files: new Map([["a.png", PNG]]) } }, (path, _, response) => {
    if (path === "pictures/silent.png") return true; // and never answers
    if (path === "pictures/broken.png") return response.writeHead(200, { "content-length": 100 }).write("x", () => response.destroy());
    return false;
  });
  page = await browser.open(site);
  await load(page, `${server.origin}/m/`);
  await page.evaluate((base64) => {
    globalThis.base64 = base64;
    globalThis.png = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    /** A canvas of 3x2 pixels, all (10, 200, 30). */
    globalThis.paint = (canvas) => {
      const context = canvas.getContext("2d");
      context.fillStyle = "rgb(10 200 30)";
      context.fillRect(0, 0, 3, 2);
      return canvas;
    };
    globalThis.canvas = () => globalThis.paint(Object.assign(document.createElement("canvas"), { width: 3, height: 2 }));
    /** On memory that other threads may write to. */
    globalThis.shared = () => {
      const view = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer);
      view.set(globalThis.png);
      return view;
    };
    /** The same object, whose memory now belongs to a copy. */
    globalThis.detach = (buffer) => {
      structuredClone(buffer, { transfer: [buffer.buffer ?? buffer] });
      return buffer;
    };
    globalThis.frame = () => document.body.appendChild(document.createElement("iframe")).contentWindow;
    globalThis.seen = (image, options) =>
      globalThis.attempt(async () => JSON.parse((await globalThis.model.run({ image, prompt: "echo" }, options)).description).image);
  }, PNG.toString("base64"));
});
after(async () => {
  await browser.close();
  await site.close();
  await server.close();
});

/** What `make` gives, as the engine sees it. `make` runs in the page; its argument is the picture server's address. */
function seen(make) {
  return page.evaluate(`(async () => globalThis.seen(await (${make})(${JSON.stringify(server.origin)})))()`);
}

const BYTES = `bytes:${sha256(PNG)}`;
/** A page of memory that begins with the file. */
const SHARED = Buffer.concat([PNG, Buffer.alloc(65536 - PNG.length)]);
const PIXELS = "pixels:3x2:10,200,30,255:24";

const KINDS = {
  "number[]": [() => Array.from(globalThis.png), BYTES],
  ArrayBuffer: [() => globalThis.png.slice().buffer, BYTES],
  "ArrayBuffer that can grow": [
    () => {
      const buffer = new ArrayBuffer(9, { maxByteLength: 1000 });
      buffer.resize(globalThis.png.length);
      new Uint8Array(buffer).set(globalThis.png);
      return buffer;
    },
    BYTES,
  ],
  SharedArrayBuffer: [() => globalThis.shared().buffer, `bytes:${sha256(SHARED)}`],
  Uint8Array: [() => globalThis.png, BYTES],
  "Uint8Array in the middle of a buffer": [() => new Uint8Array([9, ...globalThis.png, 9]).subarray(1, -1), BYTES],
  "Uint8Array on a shared buffer": [() => globalThis.shared().subarray(0, globalThis.png.length), BYTES],
  "Uint8Array whose length follows its buffer's": [
    () => {
      const view = new Uint8Array(new ArrayBuffer(9, { maxByteLength: 1000 }));
      view.buffer.resize(globalThis.png.length);
      view.set(globalThis.png);
      return view;
    },
    BYTES,
  ],
  Uint8ClampedArray: [() => new Uint8ClampedArray(globalThis.png), BYTES],
  DataView: [() => new DataView(globalThis.png.buffer), BYTES],
  "Uint16Array, a byte in each item": [() => Uint16Array.from(globalThis.png), BYTES],
  "binary string": [() => String.fromCharCode(...globalThis.png), BYTES],
  base64: [() => globalThis.base64, BYTES],
  "base64 in lines": [() => globalThis.base64.replace(/.{20}/g, "$&\r\n"), BYTES],
  "base64 for URLs, without padding": [() => globalThis.base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""), BYTES],
  Blob: [() => new Blob([globalThis.png]), BYTES],
  File: [() => new File([globalThis.png], "a.png", { type: "image/png" }), BYTES],
  "URL of another host": [(origin) => new URL(`${origin}/pictures/a.png`), BYTES],
  "URL as a text": [(origin) => `${origin}/pictures/a.png`, BYTES],
  "data: URL": [() => `data:image/png;base64,${globalThis.base64}`, BYTES],
  "data: URL with escapes": [() => `data:image/png;base64,${encodeURIComponent(globalThis.base64)}`, BYTES],
  "data: URL without base64": [() => `data:,${Array.from(globalThis.png, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")}`, BYTES],
  "blob: URL": [() => URL.createObjectURL(new Blob([globalThis.png])), BYTES],
  "ArrayBuffer of another frame": [() => globalThis.frame().Uint8Array.from(globalThis.png).buffer, BYTES],
  "Blob of another frame": [() => new (globalThis.frame().Blob)([globalThis.png]), BYTES],
  ImageData: [() => globalThis.canvas().getContext("2d").getImageData(0, 0, 3, 2), PIXELS],
  ImageBitmap: [() => createImageBitmap(globalThis.canvas()), PIXELS],
  HTMLCanvasElement: [() => globalThis.canvas(), PIXELS],
  "HTMLCanvasElement of another frame": [
    () => globalThis.paint(Object.assign(globalThis.frame().document.createElement("canvas"), { width: 3, height: 2 })),
    PIXELS,
  ],
  OffscreenCanvas: [() => globalThis.paint(new OffscreenCanvas(3, 2)), PIXELS],
  "canvas with a WebGL context": [
    () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 3, height: 2 });
      const gl = canvas.getContext("webgl", { preserveDrawingBuffer: true });
      gl.clearColor(10 / 255, 200 / 255, 30 / 255, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      return canvas;
    },
    PIXELS,
  ],
  HTMLImageElement: [() => Object.assign(new Image(), { src: globalThis.canvas().toDataURL() }), PIXELS],
  "HTMLImageElement that waits to be scrolled to": [
    () => {
      const img = Object.assign(new Image(), { loading: "lazy", src: globalThis.canvas().toDataURL() });
      const above = document.createElement("div");
      above.style.height = "100000px";
      document.body.append(above, img);
      return img;
    },
    PIXELS,
  ],
  VideoFrame: [() => new VideoFrame(globalThis.canvas(), { timestamp: 0 }), PIXELS],
  HTMLVideoElement: [
    async () => {
      const video = Object.assign(document.createElement("video"), { muted: true, srcObject: globalThis.canvas().captureStream(5) });
      await video.play();
      return video;
    },
    /^pixels:3x2:/,
  ],
};
for (const [kind, [make, expected]] of Object.entries(KINDS)) {
  test(`taken: ${kind}`, { timeout: 20_000 }, async () => {
    const { value, error } = await seen(make);
    assert.equal(error, undefined);
    if (expected instanceof RegExp) assert.match(value, expected);
    else assert.equal(value, expected);
  });
}

test("the caller's buffer stays usable", async () => {
  const length = await page.evaluate(async () => {
    await globalThis.seen(globalThis.png);
    return globalThis.png.length;
  });
  assert.equal(length, PNG.length);
});

test("a picture in messages is fetched, and belongs to its place", async () => {
  server.requests = [];
  const outcomes = await page.evaluate((origin) => {
    const ask = (url) => {
      const content = [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url } }];
      return globalThis.attempt(async () => (await globalThis.model.run({ messages: [{ role: "user", content }] })).description);
    };
    return Promise.all([ask(`${origin}/pictures/a.png`), ask(`${origin}/pictures/b.png`)]);
  }, server.origin);
  assert.equal(outcomes[0].value, "word0 ");
  assert.match(outcomes[1].error.message, /404/);
  assert.deepEqual(server.requests.sort(), ["pictures/a.png", "pictures/b.png"]);
});

/** Addresses that begin like files, or like the base64 of one. */
const ADDRESSES = ["BMW.jpg", "RIFF.webp", "GIF89a", "GIF89a.gif", "II.tiff", "8BPS", "PHOTOS/of-the-last-summer/at-the-beach", "9j/4AAQ.jpg", "Qk/2.bmp", "iVBORw0KGgo"];
test("addresses that look like files are fetched", async () => {
  for (const address of ADDRESSES) {
    const fetched = page.waitForRequest((request) => request.url() === `${site.origin}/${address}`);
    const { error } = await seen(`() => ${JSON.stringify(address)}`);
    await fetched;
    assert.match(error.message, /no such file \(404\)/);
  }
});

const REFUSED = {
  nothing: [() => null, "bad_image", /it is null, not a kind of picture/],
  "an object": [() => ({ width: 1 }), "bad_image", /of type Object, not a kind of picture/],
  "an object without a prototype": [() => Object.create(null), "bad_image", /of type Object, not a kind of picture/],
  "a symbol": [() => Symbol("picture"), "bad_image", /a symbol, not a kind of picture/],
  "a BigInt": [() => 5n, "bad_image", /5n, not a kind of picture/],
  "a function": [() => () => 1, "bad_image", /a function, not a kind of picture/],
  "an object that throws": [() => ({ get [Symbol.toStringTag]() { throw null; } }), "bad_image", /cannot be read/],
  "an object that pretends to be a Blob": [() => ({ [Symbol.toStringTag]: "Blob" }), "bad_image", /can no longer be read/],
  "an object that pretends to be an <img>": [() => ({ [Symbol.toStringTag]: "HTMLImageElement" }), "bad_image", /cannot be read/],
  "a proxy of a picture": [() => new Proxy(globalThis.canvas(), {}), "bad_image", /cannot be (read|drawn)/],
  "a proxy that throws": [
    () => new Proxy([1, 2], { get: (list, key) => (key === "1" ? nothing : list[key]) }),
    "bad_image",
    /cannot be read/,
  ],
  "a list that throws": [() => Object.defineProperty([1, 2], 1, { get() { throw undefined; } }), "bad_image", /cannot be read/],
  "no bytes": [() => new Uint8Array(0), "bad_image", /empty/],
  "no characters": [() => "", "bad_image", /empty/],
  "white space": [() => " \n", "bad_image", /empty/],
  "an empty file": [() => new File([], "a.png"), "bad_image", /empty/],
  "a number above 255": [() => [1, 2, 256], "bad_image", /item 2 is 256/],
  "a fraction": [() => [0.5], "bad_image", /item 0 is 0.5/],
  "a list with a hole": [() => [1, , 2], "bad_image", /item 1 is undefined/],
  "BigInts": [() => new BigInt64Array([1n]), "bad_image", /item 0 is 1n/],
  "a list of files": [() => [new File([globalThis.png], "a.png")], "bad_image", /item 0 is of type File; one picture/],
  "a list of binary strings": [() => [String.fromCharCode(...globalThis.png)], "bad_image", /item 0 is ".*…"; one picture/],
  "a text that is not binary": [() => "\x89PNG €", "bad_image", /character 5/],
  "a detached ArrayBuffer": [() => globalThis.detach(globalThis.png.slice().buffer), "bad_image", /detached/],
  "a Uint8Array whose buffer is detached": [() => globalThis.detach(globalThis.png.slice()), "bad_image", /detached/],
  "a Uint16Array whose buffer is detached": [() => globalThis.detach(Uint16Array.from(globalThis.png)), "bad_image", /detached/],
  "a DataView whose buffer is detached": [() => globalThis.detach(new DataView(globalThis.png.slice().buffer)), "bad_image", /detached/],
  "a view that follows a detached buffer": [() => globalThis.detach(new Uint8Array(new ArrayBuffer(9, { maxByteLength: 99 }))), "bad_image", /detached/],
  "an ImageData whose buffer is detached": [
    () => {
      const pixels = globalThis.canvas().getContext("2d").getImageData(0, 0, 3, 2);
      globalThis.detach(pixels.data);
      return pixels;
    },
    "bad_image",
    /detached/,
  ],
  "a view beyond the end of its buffer": [
    () => {
      const buffer = new ArrayBuffer(99, { maxByteLength: 99 });
      const view = new DataView(buffer, 50, 20);
      buffer.resize(10);
      return view;
    },
    "bad_image",
    /cannot be read/,
  ],
  "an ImageData with floats": [() => new ImageData(2, 1, { pixelFormat: "rgba-float16" }), "bad_image", /rgba-unorm8/],
  "a picture that is not there": [(origin) => `${origin}/pictures/b.png`, "bad_image", /404/],
  "a host that is not there": [() => "http://localhost:1/a.png", "network", /CORS/],
  "an answer that breaks off": [(origin) => `${origin}/pictures/broken.png`, "network", /broke off/],
  "a URL that is none": [() => "http://", "network", /Check the address/],
  "a data: URL whose base64 is damaged": [() => "data:image/png;base64,@@@@", "bad_image", /base64 .*"@@@@".* is damaged/],
  "a data: URL whose base64 is cut": [() => `data:image/png;base64,${globalThis.base64.slice(0, 41)}`, "bad_image", /base64 .* is damaged/],
  "a data: URL without a comma": [() => "data:image/png;base64", "bad_image", /no comma/],
  "a data: URL with nothing": [() => "data:,", "bad_image", /empty/],
  "base64 that is damaged": [() => `${globalThis.base64.slice(0, 80)}@${globalThis.base64.slice(80)}`, "bad_image", /base64 .* is damaged/],
  "a closed ImageBitmap": [
    async () => {
      const bitmap = await createImageBitmap(globalThis.canvas());
      bitmap.close();
      return bitmap;
    },
    "bad_image",
    /no pixels/,
  ],
  "a closed VideoFrame": [
    () => {
      const frame = new VideoFrame(globalThis.canvas(), { timestamp: 0 });
      frame.close();
      return frame;
    },
    "bad_image",
    /closed/,
  ],
  "an empty canvas": [() => Object.assign(document.createElement("canvas"), { width: 0 }), "bad_image", /no pixels/],
  "an <img> without a picture": [() => Object.assign(new Image(), { src: "data:image/png;base64,AAAA" }), "bad_image", /cannot be decoded/],
  "an <img> without src": [() => new Image(), "bad_image", /no src/],
  "an <img> of another host without CORS": [
    (origin) => Object.assign(new Image(), { src: `${origin}/pictures/a.png` }),
    "bad_image",
    /crossOrigin/,
  ],
  "a video without a frame": [() => document.createElement("video"), "bad_image", /no frame/],
};
for (const [kind, [make, code, message]] of Object.entries(REFUSED)) {
  test(`refused: ${kind}`, { timeout: 20_000 }, async () => {
    const { error } = await seen(make);
    assert.equal(error?.code, code, error?.message);
    assert.ok(error.llava);
    assert.match(error.message, message);
    assert.ok(error.message.length < 350, error.message);
  });
}

test("refused: a file that is gone since it was chosen", async () => {
  const folder = await mkdtemp(join(tmpdir(), "llava-web-test-"));
  const path = join(folder, "a.png");
  await writeFile(path, PNG);
  await page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { type: "file", id: "file" })));
  await page.setInputFiles("#file", path);
  assert.equal((await seen("() => document.getElementById('file').files[0]")).value, BYTES);
  await rm(folder, { recursive: true });
  const { error } = await seen("() => document.getElementById('file').files[0]");
  assert.equal(error.code, "bad_image");
  assert.match(error.message, /choose it again/);
});

const SLOW = {
  "a URL": (origin) => `${origin}/pictures/silent.png`,
  "an <img>": (origin) => Object.assign(new Image(), { src: `${origin}/pictures/silent.png` }),
};
for (const [kind, make] of Object.entries(SLOW)) {
  test(`an abort need not wait for ${kind}`, { timeout: 20_000 }, async () => {
    const { error } = await page.evaluate(
      `(async () => globalThis.seen((${make})(${JSON.stringify(server.origin)}), { signal: AbortSignal.timeout(200) }))()`,
    );
    assert.equal(error.code, "aborted");
  });
}
