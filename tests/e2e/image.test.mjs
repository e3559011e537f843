// Every kind of picture, as it reaches the engine: a file as its very bytes, anything drawn as its pixels.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { load, makeBundle, openBrowser, serveBundles, servePackage, sha256 } from "./support.mjs";

/** A PNG of 2x1 pixels: red, then blue at half transparency. */
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEElEQVR42mP4z8DwH4gaABMBA/+0RRB5AAAAAElFTkSuQmCC", "base64");

let browser, site, server, page;
before(async () => {
  browser = await openBrowser();
  site = await servePackage({ fake: true });
  server = await serveBundles({ m: makeBundle(), pictures: { files: new Map([["a.png", PNG]]) } });
  page = await browser.open(site);
  await load(page, `${server.origin}/m/`);
  await page.evaluate((base64) => {
    globalThis.png = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    /** A canvas of 3x2 pixels, all (10, 200, 30). */
    globalThis.paint = (canvas) => {
      const context = canvas.getContext("2d");
      context.fillStyle = "rgb(10 200 30)";
      context.fillRect(0, 0, 3, 2);
      return canvas;
    };
    globalThis.canvas = () => globalThis.paint(Object.assign(document.createElement("canvas"), { width: 3, height: 2 }));
    globalThis.seen = (image) =>
      globalThis.attempt(async () => JSON.parse((await globalThis.model.run({ image, prompt: "echo" })).description).image);
  }, PNG.toString("base64"));
});
after(async () => {
  await browser.close();
  await site.close();
  await server.close();
});

const BYTES = `bytes:${sha256(PNG)}`;
const PIXELS = "pixels:3x2:10,200,30,255:24";

/** The maker runs in the page; its argument is the picture server's address. */
const KINDS = {
  "number[]": [() => Array.from(globalThis.png), BYTES],
  ArrayBuffer: [() => globalThis.png.slice().buffer, BYTES],
  Uint8Array: [() => globalThis.png, BYTES],
  "Uint8Array in the middle of a buffer": [() => new Uint8Array([9, ...globalThis.png, 9]).subarray(1, -1), BYTES],
  Uint8ClampedArray: [() => new Uint8ClampedArray(globalThis.png), BYTES],
  DataView: [() => new DataView(globalThis.png.buffer), BYTES],
  "Uint16Array, a byte in each item": [() => Uint16Array.from(globalThis.png), BYTES],
  "binary string": [() => String.fromCharCode(...globalThis.png), BYTES],
  Blob: [() => new Blob([globalThis.png]), BYTES],
  File: [() => new File([globalThis.png], "a.png", { type: "image/png" }), BYTES],
  "URL of another host": [(origin) => new URL(`${origin}/pictures/a.png`), BYTES],
  "URL as a text": [(origin) => `${origin}/pictures/a.png`, BYTES],
  "data: URL": [() => `data:image/png;base64,${btoa(String.fromCharCode(...globalThis.png))}`, BYTES],
  "blob: URL": [() => URL.createObjectURL(new Blob([globalThis.png])), BYTES],
  ImageData: [() => globalThis.canvas().getContext("2d").getImageData(0, 0, 3, 2), PIXELS],
  ImageBitmap: [() => createImageBitmap(globalThis.canvas()), PIXELS],
  HTMLCanvasElement: [() => globalThis.canvas(), PIXELS],
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
  test(`taken: ${kind}`, async () => {
    const { value, error } = await page.evaluate(`(async () => globalThis.seen(await (${make})(${JSON.stringify(server.origin)})))()`);
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

const REFUSED = {
  nothing: [() => null, "bad_image", /not a kind of picture/],
  "an object": [() => ({ width: 1 }), "bad_image", /not a kind of picture/],
  "no bytes": [() => new Uint8Array(0), "bad_image", /empty/],
  "a number above 255": [() => [1, 2, 256], "bad_image", /item 2 is 256/],
  "a fraction": [() => [0.5], "bad_image", /item 0 is 0.5/],
  "a text that is not binary": [() => "\x89PNG €", "bad_image", /character 5/],
  "a picture that is not there": [(origin) => `${origin}/pictures/b.png`, "bad_image", /404/],
  "a host that is not there": [() => "http://localhost:1/a.png", "network", /CORS/],
  "a closed ImageBitmap": [
    async () => {
      const bitmap = await createImageBitmap(globalThis.canvas());
      bitmap.close();
      return bitmap;
    },
    "bad_image",
    /no pixels/,
  ],
  "an empty canvas": [() => Object.assign(document.createElement("canvas"), { width: 0 }), "bad_image", /no pixels/],
  "an <img> without a picture": [() => Object.assign(new Image(), { src: "data:image/png;base64,AAAA" }), "bad_image", /cannot be decoded/],
  "an <img> of another host without CORS": [
    (origin) => Object.assign(new Image(), { src: `${origin}/pictures/a.png` }),
    "bad_image",
    /crossOrigin/,
  ],
  "a video without a frame": [() => document.createElement("video"), "bad_image", /no frame/],
  "too many bytes": [() => new Uint8Array(65 * 1024 * 1024), "too_large", /limit/],
  "too many pixels": [() => new OffscreenCanvas(10_000, 10_000), "too_large", /10000x10000/],
};
for (const [kind, [make, code, message]] of Object.entries(REFUSED)) {
  test(`refused: ${kind}`, async () => {
    const { error } = await page.evaluate(`(async () => globalThis.seen(await (${make})(${JSON.stringify(server.origin)})))()`);
    assert.equal(error?.code, code);
    assert.ok(error.llava);
    assert.match(error.message, message);
  });
}
