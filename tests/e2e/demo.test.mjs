// The demo page, as a visitor uses it, with the real engine and the default model.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { openBrowser, servePackage } from "./support.mjs";

let browser, site, page, complaints;
before(async () => {
  browser = await openBrowser();
  site = await servePackage();
});
after(async () => {
  await browser.close();
  await site.close();
});
beforeEach(async () => {
  await page?.close();
  page = await browser.open(site, "/");
  complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
});

/** Waits for the end of an answer and gives it back. */
async function answered() {
  await page.locator("#status", { hasText: "tokens/s" }).filter({ hasNotText: "so far" }).waitFor({ timeout: 120_000 });
  return page.locator("#answer").textContent();
}

test("a press on a sample describes it truly", async () => {
  const opened = performance.now();
  const sample = page.locator("#samples button").first();
  const things = (await sample.getAttribute("title")).split(", ");
  await sample.click();
  const answer = await answered();
  for (const thing of things) assert.ok(answer.includes(thing), `${answer}: where is the ${thing}?`);
  // Not a limit: how long the software GPU takes to compile the shaders depends on what else the machine does.
  console.log(`from the press on a sample to the end of the answer: ${((performance.now() - opened) / 1000).toFixed(1)} s`);
  assert.match(await page.locator("#stored-total").textContent(), /MB/);
  assert.deepEqual(complaints, []);
});

test("a drawing is described, by mouse and by keys", async () => {
  await page.click("#draw");
  await page.locator("#colours input[value=blue]").check();
  await page.locator("#tools input[value=star]").check();
  const box = await page.locator("#canvas").boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2 + 60, box.y + box.height / 2);
  await page.mouse.up();
  await page.click("#go");
  assert.match(await answered(), /blue star/);

  await page.click("#wipe");
  await page.locator("#colours input[value=red]").check();
  await page.locator("#tools input[value=circle]").check();
  await page.focus("#canvas");
  for (const key of ["ArrowLeft", "+", "+", "Enter"]) await page.keyboard.press(key);
  await page.click("#go");
  await page.waitForTimeout(100);
  assert.match(await answered(), /red circle/);
});

test("a file, a drop and a paste are taken; a question is sent with Enter", async () => {
  const png = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(100, 100);
    const context = canvas.getContext("2d");
    context.fillStyle = "#eee";
    context.fillRect(0, 0, 100, 100);
    context.fillStyle = "#1e9e3e";
    context.arc(50, 50, 25, 0, 2 * Math.PI);
    context.fill();
    globalThis.picture = new File([await canvas.convertToBlob()], "circle.png", { type: "image/png" });
    return [...new Uint8Array(await globalThis.picture.arrayBuffer())];
  });
  await page.setInputFiles("#file", { name: "circle.png", mimeType: "image/png", buffer: Buffer.from(png) });
  assert.match(await answered(), /green circle/);
  for (const [event, field] of [["drop", "dataTransfer"], ["paste", "clipboardData"]]) {
    await page.evaluate(([event, field]) => {
      const transfer = new DataTransfer();
      transfer.items.add(globalThis.picture);
      document.getElementById("answer").textContent = "";
      document.getElementById("status").textContent = "";
      const init = { bubbles: true, cancelable: true, [field]: transfer };
      document.body.dispatchEvent(event === "drop" ? new DragEvent(event, init) : new ClipboardEvent(event, init));
    }, [event, field]);
    assert.match(await answered(), /green circle/, event);
  }
  await page.fill("#prompt", "What colour is the circle?");
  await page.locator("#status").evaluate((status) => (status.textContent = ""));
  await page.press("#prompt", "Enter");
  assert.match(await answered(), /green/);
});

test("an address where there is no model is an error the visitor can read; stored models can be deleted", async () => {
  await page.locator("summary", { hasText: "Another model" }).click();
  await page.fill("#model-url", `${site.origin}/models/none/`);
  await page.click("#draw");
  await page.focus("#canvas");
  await page.keyboard.press("Enter");
  await page.click("#go");
  await page.locator("#answer", { hasText: "no_such_model" }).waitFor();
  await page.locator("#storage summary").click();
  await page.click("#clear");
  await page.locator("#stored-total", { hasText: "nothing" }).waitFor();
});

test("nothing is wider than a phone's screen, and every control has a name", async () => {
  await page.setViewportSize({ width: 360, height: 700 });
  await page.click("#draw");
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, summary, canvas, progress")]
      .filter((element) => !element.ariaLabel && !element.title && !element.textContent.trim() && !element.labels?.length && !element.hasAttribute("aria-labelledby"))
      .map((element) => element.outerHTML),
  );
  assert.deepEqual(nameless, []);
});

test("a browser without WebGPU is told so, and what to do", async () => {
  const plain = await openBrowser({ gpu: "none" });
  try {
    const page = await plain.open(site, "/");
    await page.locator("#problems", { hasText: "WebGPU" }).waitFor();
  } finally {
    await plain.close();
  }
});
