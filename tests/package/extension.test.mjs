// The tarball in a browser extension (Manifest V3), bundled by esbuild: its page, its offscreen document, its service worker.
import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launchProfile } from "../../www/scripts/browser.mjs";
import { install, shell } from "./setup.mjs";
import { checkAnswer, press } from "./visit.mjs";

const BUILD =
  "esbuild main.js extension/*.js --bundle --format=esm --entry-names=[name] --outdir=extension/dist && " +
  "cp index.html extension/*.html extension/manifest.json extension/dist/ && cp -r node_modules/llava-web/dist/llava-web extension/dist/";

let profile, browser, address;
before(async () => {
  const folder = await install("esbuild");
  await shell(BUILD, folder);
  const extension = join(folder, "extension/dist");
  await cp(join(folder, "node_modules/llava-web/demo/samples"), join(extension, "samples"), { recursive: true });
  profile = await mkdtemp(join(tmpdir(), "llava-web-test-"));
  browser = await launchProfile(profile, { extension });
  const worker = browser.serviceWorkers()[0] ?? (await browser.waitForEvent("serviceworker"));
  address = new URL("/index.html", worker.url()).href;
});
after(async () => {
  await browser?.close();
  await rm(profile, { recursive: true, force: true });
});

test("a page of an extension describes a picture", async () => {
  const { answer, errors } = await press(await browser.newPage(), address);
  checkAnswer(answer);
  assert.deepEqual(errors, []);
});

/** Lets the service worker describe a picture in one of its ways. */
async function ask(way) {
  const page = await browser.newPage();
  await page.goto(address);
  return page.evaluate((way) => chrome.runtime.sendMessage({ to: "background", way }), way);
}

test("the service worker of an extension describes a picture", async () => checkAnswer(await ask("here")));

test("the offscreen document of an extension describes a picture", async () => checkAnswer(await ask("offscreen")));
