// The demo page, as a visitor uses it: with the real engine and the default model, then what it shows and how it looks, with a
// package that does what the test says.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { start } from "../../www/scripts/serve.mjs";
import { openBrowser, servePackage } from "./support.mjs";
import { advice } from "../../www/demo/advice.js";

/** Where the demo lies in the package, below a folder of a host. */
const SUB_PATH = "/some/path";

let browser, site, page, complaints;
before(async () => {
  browser = await openBrowser();
  site = await servePackage();
});
after(async () => {
  await browser.close();
  await site.close();
});
afterEach(() => page?.close());

function listen(page) {
  complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
}

/** Waits for the end of an answer and gives it back. */
async function answered() {
  await page.locator("#status", { hasText: "tokens/s" }).filter({ hasNotText: "so far" }).waitFor({ timeout: 120_000 });
  return page.locator("#answer").textContent();
}

describe("with the engine and the default model", () => {
  beforeEach(async () => {
    page = await browser.open(site, "/demo/");
    listen(page);
  });

  test("a press on a sample describes it truly", async () => {
    const opened = performance.now();
    const sample = page.locator("#samples button").first();
    const things = (await sample.getAttribute("title")).split(", ");
    await sample.click();
    const answer = await answered();
    for (const thing of things) assert.ok(answer.includes(thing), `${answer}: where is the ${thing}?`);
    assert.ok((await page.locator("#sureness").evaluate(({ value }) => value)) > 0.5);
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
    const failure = page.locator("#failure .problem", { hasText: "There is no model at this address." });
    await failure.waitFor();
    await failure.locator("summary").click();
    await failure.getByText("no_such_model").waitFor();
    await page.locator("#storage summary").click();
    await page.click("#clear");
    await page.locator("#stored-total", { hasText: "nothing" }).waitFor();
  });

  test("of the sample that it should not know it says so, and the page what it knows instead", async () => {
    await page.locator("#samples button", { has: page.locator("[alt*='should not know']") }).click();
    assert.match(await answered(), /don't know/);
    assert.ok(await page.locator("#unknown", { hasText: await page.locator("#knows").textContent() }).isVisible());
    await page.click("#try-sample");
    await page.locator("#unknown").waitFor({ state: "hidden" });
    assert.doesNotMatch(await answered(), /know/);
  });

  test("the demo works below a folder of a host, and asks for nothing outside of it", async () => {
    const outside = [];
    const folder = await start({
      handler: async (request, response) => {
        if (!request.url.startsWith(`${SUB_PATH}/`)) {
          outside.push(request.url);
          return response.writeHead(404).end();
        }
        const found = await fetch(site.origin + request.url.slice(SUB_PATH.length));
        response.writeHead(found.status, { "content-type": found.headers.get("content-type") }).end(Buffer.from(await found.arrayBuffer()));
      },
    });
    try {
      await page.goto(`${folder.origin}${SUB_PATH}/demo/`);
      await page.locator("#samples button").first().click();
      assert.notEqual(await answered(), "");
      const links = await page.evaluate(() => [...document.links].map(({ href }) => href));
      const inside = links.filter((link) => link.startsWith(folder.origin)).map((link) => new URL(link).pathname);
      assert.deepEqual(inside, ["README.md", "second/README.md", "CREDITS.md"].map((file) => `${SUB_PATH}/dist/llava-web/model/${file}`));
      assert.deepEqual({ outside, complaints }, { outside: [], complaints: [] });
    } finally {
      await page.close();
      await folder.close();
    }
  });
});

test("a browser without WebGPU answers all the same, on the processor, and says so without alarm", async () => {
  const plain = await openBrowser({ gpu: "none" });
  try {
    const page = await plain.open(site, "/demo/");
    await page.locator("#samples button").first().click();
    await page.locator("#warnings .problem.warning", { hasText: "The model runs on the processor." }).waitFor();
    await page.waitForFunction(() => document.querySelector("#answer").textContent.trim() !== "");
    assert.equal(await page.locator(".problem").count(), 1, "it is said once");
    assert.doesNotMatch(await page.evaluate(visibleText), /--|chrome:|enable|WebGPU/);
    await page.locator(".problem summary").click();
    assert.match(await page.evaluate(visibleText), /webgpu_unavailable/);
  } finally {
    await plain.close();
  }
});

describe("the page", () => {
  const PHONES = [[360, 640], [390, 844]];
  const DESKTOP = [1280, 800];
  const NETWORK = { code: "network", message: "https://example.org/chunk.bin cannot be fetched" };
  const QUOTA = { code: "quota_exceeded", message: "load with `evict: true`" };
  const UNKNOWN = "I don't know what this is.";

  /** Opens the page with tests/e2e/fake-package.js for the package; `fake` says what it does. */
  async function visit(fake = {}, { size = DESKTOP, query = "", ...media } = {}) {
    await page?.close();
    page = await browser.context.newPage();
    listen(page);
    const source = await readFile(new URL("fake-package.js", import.meta.url), "utf8");
    await page.route("**/dist/index.js", (route) => route.fulfill({ contentType: "text/javascript", body: source }));
    await page.addInitScript((fake) => (globalThis.fake = fake), fake);
    await page.setViewportSize({ width: size[0], height: size[1] });
    await page.emulateMedia({ reducedMotion: "reduce", colorScheme: "light", ...media });
    await page.goto(`${site.origin}/demo/${query}`);
    await page.locator("#samples button").nth(10).waitFor();
  }

  const sample = (index = 0) => page.locator("#samples button").nth(index);
  const release = () => page.evaluate(() => globalThis.fake.release());
  const change = (fields) => page.evaluate((fields) => Object.assign(globalThis.fake, fields), fields);
  const done = () => page.locator("#status", { hasText: "tokens/s ·" }).waitFor();
  const file = (name, mimeType, buffer) => page.setInputFiles("#file", { name, mimeType, buffer });

  /** Fails unless the element is seen whole, without scrolling and with nothing over it. */
  async function assertInView(selector) {
    await page.locator(selector).waitFor();
    const seen = await page.locator(selector).evaluate((element) => {
      const { left, right, top, bottom } = element.getBoundingClientRect();
      const [x, y] = [(left + right) / 2, (top + bottom) / 2];
      const over = document.elementFromPoint(x, y);
      return { left, right, top, bottom, width: innerWidth, height: innerHeight, covered: over && !element.contains(over) && over.outerHTML.slice(0, 80) };
    });
    const { left, right, top, bottom, width, height, covered } = seen;
    assert.ok(left >= 0 && right <= width && top >= 0 && bottom <= height && covered === false, `${selector} is not in view: ${JSON.stringify(seen)}`);
  }

  for (const size of [...PHONES, DESKTOP]) {
    test(`what the model knows stands beside the drop area, in view from the start, at ${size.join("x")}`, async () => {
      await visit({}, { size });
      await assertInView("#knows");
      await assertInView("#drop");
      assert.match(await page.locator("#knows").textContent(), /knows .*photographs/);
      const [knows, drop] = [await page.locator("#knows").boundingBox(), await page.locator("#drop").boundingBox()];
      const between = drop.y - (knows.y + knows.height);
      assert.ok(between >= 0 && between < 40, `${between} px between them`);
    });
  }

  test("of another model the page does not say what it knows", async () => {
    await visit({ answer: UNKNOWN }, { query: "?model=https://example.org/other/" });
    assert.ok(!(await page.locator("#knows").isVisible()) && (await page.locator("#knows-not").isVisible()));
    await sample().click();
    await page.locator("#unknown").waitFor();
    assert.ok(!(await page.locator("#unknown-knows").isVisible()));
    await page.click("#built-in");
    await page.locator("#knows").waitFor();
    assert.equal(await page.inputValue("#model-url"), "");
  });

  for (const size of PHONES) {
    test(`the bar is in view from a press on a sample to the end of the load, and then the answer, at ${size.join("x")}`, async () => {
      for (const index of [0, 10]) {
        await visit({ hold: "download" }, { size });
        await sample(index).click();
        await assertInView("#bar");
        await assertInView("#bytes");
        assert.equal(await page.locator("#bar").evaluate((bar) => bar.value.toFixed(2)), "0.33");
        await change({ hold: "compile" });
        await release();
        await page.locator("#bar:not([value])").waitFor();
        await assertInView("#bar");
        await release();
        await done();
        await assertInView("#answer");
        assert.ok(!(await page.locator("#loading").isVisible()));
      }
    });

    test(`so it is for a file that is dropped, from wherever the page was scrolled to, at ${size.join("x")}`, async () => {
      await visit({ hold: "download" }, { size });
      for (const scrolled of [0, 10_000]) {
        await page.evaluate(async (scrolled) => {
          scrollTo(0, scrolled);
          const blob = await (await fetch("samples/emoji-10.png")).blob();
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([blob], "parrot.png", { type: "image/png" }));
          document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        }, scrolled);
        await assertInView("#bar");
      }
    });

    test(`the drawing board, its palettes and the button that asks are in view together, at ${size.join("x")}`, async () => {
      await visit({}, { size });
      await page.click("#draw");
      for (const part of ["#canvas", "#colours", "#tools", "#undo", "#go"]) await assertInView(part);
    });
  }

  test("nothing moves where the visitor wants no motion", async () => {
    const moving = () => page.evaluate(() => [...document.getAnimations().map(({ animationName }) => animationName), getComputedStyle(document.documentElement).scrollBehavior]);
    for (const [reducedMotion, expected] of [["reduce", ["auto"]], ["no-preference", ["along", "smooth"]]]) {
      await visit({ hold: "compile" }, { reducedMotion });
      await sample().click();
      await page.locator("#bar").waitFor();
      assert.deepEqual(await moving(), expected, reducedMotion);
    }
  });

  test("the model is loaded once however often the visitor asks meanwhile; Stop ends the load, and keeps the focus on the page", async () => {
    await visit({ hold: "download" });
    await sample(0).click();
    await sample(1).click();
    await page.dblclick("#go");
    assert.equal(await page.evaluate(() => globalThis.fake.loads), 1);
    await page.focus("#stop");
    await page.keyboard.press("Enter");
    await page.locator("#status", { hasText: "Stopped." }).waitFor();
    assert.ok(!(await page.locator("#loading").isVisible()));
    assert.equal(await page.evaluate(() => document.activeElement.id), "go");
    await change({ hold: "answer" });
    await page.click("#go");
    await page.locator("#answer.writing", { hasText: "a red" }).waitFor();
    await page.click("#stop");
    await page.locator("#status", { hasText: "Stopped." }).waitFor();
    await change({ hold: "" });
    await page.click("#go");
    await done();
    assert.equal(await page.evaluate(() => globalThis.fake.loads), 2, "the model stays when only its answer is stopped");
    assert.deepEqual(complaints, []);
  });

  test("another model that is asked for while one is being loaded takes its place", async () => {
    await visit({ hold: "download" });
    await sample().click();
    await page.locator("summary", { hasText: "Another model" }).click();
    await page.fill("#model-url", "https://example.org/other/");
    await page.click("#go");
    await page.locator("#bar").waitFor();
    assert.equal(await page.evaluate(() => globalThis.fake.loads), 2);
    await release();
    await done();
    assert.ok(!(await page.locator("#loading").isVisible()));
  });

  test("a bar below the answer tells how sure the model was, until the next question", async () => {
    await visit({ answer: "a red star", sure: 0.4 });
    await sample(0).click();
    await done();
    const [meter, text] = [page.locator("#sureness"), page.locator("#sure-text")];
    assert.equal(await text.textContent(), "80 % sure"); // of three words two are certain
    assert.ok(Math.abs((await meter.evaluate(({ value }) => value)) - 0.8) < 1e-6);
    await change({ hold: "answer" });
    await page.click("#go");
    assert.ok(!(await page.locator("#sure").isVisible()));
  });

  test("beside an answer that says it does not know stands what the model knows, and what to try", async () => {
    for (const answer of [UNKNOWN, "I do not know that.", "I don’t know"]) {
      await visit({ answer }, { size: PHONES[0] });
      await sample(10).click();
      await done();
      await assertInView("#unknown");
      assert.ok((await page.locator("#unknown").innerText()).includes(await page.locator("#knows").textContent()));
    }
    await change({ answer: "a known star" });
    await page.click("#try-sample");
    await page.locator("#answer", { hasText: "a known star" }).waitFor();
    await done();
    assert.ok(!(await page.locator("#unknown").isVisible()), "the note is gone with the answer");
    assert.equal(await sample(0).getAttribute("aria-current"), "true");

    await change({ answer: UNKNOWN });
    await page.click("#go");
    await page.click("#try-model");
    await assertInView("#model-url");
    assert.equal(await page.evaluate(() => document.activeElement.id), "model-url");
    await page.click("#try-drawing");
    await assertInView("#canvas");
    assert.equal(await page.evaluate(() => document.activeElement.id), "canvas");
  });

  for (const colorScheme of ["light", "dark"]) {
    test(`an error looks like one, is near the answer and goes away, ${colorScheme}`, async () => {
      await visit({ failure: NETWORK }, { size: PHONES[0], colorScheme });
      await sample().click();
      await assertInView("#failure .problem");
      assert.equal(await page.getByRole("alert").filter({ hasText: "The connection failed." }).count(), 1);
      const look = await page.locator("#failure .problem").evaluate((problem) => {
        const { borderLeftColor, borderLeftWidth, backgroundColor } = getComputedStyle(problem);
        return { border: borderLeftColor, width: borderLeftWidth, ground: backgroundColor, card: getComputedStyle(problem.closest("section")).backgroundColor };
      });
      const [red, green, blue] = look.border.match(/\d+/g).map(Number);
      assert.ok(red > 1.3 * green && red > 1.3 * blue, `${look.border} is no red`);
      assert.ok(parseFloat(look.width) >= 3 && look.ground !== look.card, JSON.stringify(look));
      assert.doesNotMatch(await page.evaluate(visibleText), /chunk\.bin/, "what is for developers is folded away");

      await change({ failure: undefined });
      await page.click("#go");
      await done();
      assert.equal(await page.locator(".problem").count(), 0);
      assert.deepEqual(complaints, []);
    });
  }

  test("an error goes away when it no longer holds", async () => {
    const gone = () => page.locator("#failure .problem").waitFor({ state: "detached" });
    const shown = (text) => page.locator("#failure .problem", { hasText: text }).waitFor();
    await visit({ hold: "download" });
    await page.click("#go");
    await shown("There is no picture yet.");
    await page.click("#draw");
    await gone();
    await page.click("#go");
    await shown("There is no picture yet.");
    await page.click("#canvas");
    await gone();

    await visit({ failure: { code: "no_such_model", message: "404" } }, { query: "?model=https://example.org/none/" });
    await sample().click();
    await shown("There is no model at this address.");
    await page.locator("summary", { hasText: "Another model" }).click();
    await page.fill("#model-url", "");
    await gone();
    await change({ failure: NETWORK });
    await page.click("#go");
    await shown("The connection failed.");
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await gone();
    await change({ failure: undefined, refusal: { code: "invalid_input", message: "`prompt` is too long" } });
    await page.click("#go");
    await shown("The question cannot be asked like this.");
    await page.type("#prompt", "?");
    await gone();

    await visit({ problems: [NETWORK] });
    await page.locator("#problems .problem").waitFor();
    await change({ problems: [] });
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await page.locator("#problems .problem").waitFor({ state: "detached" });
  });

  test("what is foretold at the top moves to where the answer would be; other problems stay", async () => {
    const gpu = { code: "gpu", message: "too small" };
    await visit({ problems: [gpu, QUOTA, { code: "low_memory", message: "it may end" }], failure: gpu });
    await page.locator("#problems .problem").nth(2).waitFor();
    assert.equal(await page.locator("#problems .warning").count(), 2);
    await sample().click();
    await page.locator("#failure .problem", { hasText: "The graphics chip cannot do this." }).waitFor();
    assert.equal(await page.locator("#problems .problem").count(), 2);
  });

  test("a problem with an address that is entered stands beside the field", async () => {
    await visit({}, { size: PHONES[0] });
    await change({ problems: [{ code: "bad_bundle", message: "`format` must be" }] });
    await page.locator("summary", { hasText: "Another model" }).click();
    await page.fill("#model-url", "https://example.org/other/");
    await page.press("#model-url", "Enter");
    await page.getByRole("alert").filter({ hasText: "no model for this page" }).waitFor();
    await assertInView("#model-url");
    await assertInView("#model-problems .problem");
  });

  test("a warning does not stop the answer, and is said once", async () => {
    await visit({ warnings: [QUOTA, QUOTA, NETWORK] });
    await sample().click();
    await done();
    assert.equal(await page.locator("#warnings .warning").count(), 2);
    assert.match(await page.locator("#warnings").innerText(), /no room.*stored in this browser is used/s);
  });

  test("every code of an error has words for visitors, without a developer's", async () => {
    const source = await readFile(new URL("../../www/src/basics/errors.ts", import.meta.url), "utf8");
    const codes = [...source.matchAll(/^ {2}\| "(\w+)"/gm)].map(([, code]) => code);
    assert.ok(codes.length > 10);
    const circumstances = { ownModel: false };
    const unknown = advice({}, circumstances).title;
    for (const code of codes) {
      for (const [ownModel, goesOn] of [[false, false], [true, false], [false, true]]) {
        const { title, cure } = advice({ code }, { ...circumstances, ownModel }, goesOn);
        assert.doesNotMatch(`${title} ${cure}`, /--|`|_|undefined|WebGPU/, code);
        // A stop is no failure; the page disposes of no model that it uses; what could not be read has a code of its own.
        if (!["aborted", "disposed", "io"].includes(code)) assert.notEqual(title, unknown, code);
      }
    }
  });

  test("a file that is no picture is refused in clear words before anything is fetched, and so is a drop without a file", async () => {
    await visit();
    await file("report.pdf", "application/pdf", Buffer.from("%PDF-1.7"));
    await page.locator("#failure .problem", { hasText: "“report.pdf” is not a picture" }).waitFor();
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.setData("text/uri-list", "https://example.org/picture.png");
      document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
    });
    await page.locator("#failure .problem", { hasText: "Only files can be dropped here." }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.fake.loads), 0);
    assert.ok(!(await page.locator("#preview").isVisible()));
  });

  test("a picture that the browser cannot show is named, never shown broken; one that the package cannot read is told by its name", async () => {
    await visit();
    for (const [name, type] of [["IMG_4711.HEIC", "image/heic"], ["IMG_4712.heic", ""], ["cut off.avif", "image/avif"]]) {
      await change({ refusal: undefined });
      await file(name, type, Buffer.from("no picture"));
      await page.locator("#drop-hint", { hasText: `${name}: this browser cannot show it.` }).waitFor();
      assert.ok(!(await page.locator("#preview").isVisible()), name);
      await done();
      assert.equal(await page.evaluate(() => globalThis.fake.asked.image.name), name, "it may be that the package can");
      await change({ refusal: { code: "bad_image", message: "`image`: not a format that is known" } });
      await page.click("#go");
      await page.locator("#failure .problem", { hasText: `“${name}”` }).waitFor();
    }
    await page.locator("#failure .problem", { hasText: "is not a picture that can be read" }).waitFor();
    await change({ refusal: undefined });
    await sample().click();
    await page.locator("#preview").waitFor();
    assert.ok(!(await page.locator("#drop-hint").isVisible()));
  });

  test("large photographs, tall ones and SVGs fit the drop area; the picture has its name as text", async () => {
    await visit({}, { size: PHONES[0] });
    const made = (width, height) =>
      page.evaluate(async ([width, height]) => {
        const canvas = new OffscreenCanvas(width, height);
        canvas.getContext("2d").fillRect(0, 0, width, height);
        return [...new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg" })).arrayBuffer())];
      }, [width, height]);
    for (const [name, type, bytes] of [
      ["IMG_20261128_101112.jpg", "image/jpeg", await made(4000, 3000)],
      ["tall.jpg", "image/jpeg", await made(20, 3000)],
      ["logo.svg", "image/svg+xml", Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><circle r="2"/></svg>`)],
    ]) {
      await file(name, type, Buffer.from(bytes));
      await done();
      await page.getByRole("img", { name, exact: true }).waitFor();
      const [drop, preview] = [await page.locator("#drop").boundingBox(), await page.locator("#preview").boundingBox()];
      assert.ok(preview.height > 50 && preview.height <= drop.height && preview.width <= drop.width, `${name}: ${JSON.stringify({ drop, preview })}`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
    }
  });

  test("the picture is still chosen after a look at the drawing board", async () => {
    await visit();
    await sample(4).click();
    await done();
    await page.click("#draw");
    await page.click("#draw");
    await page.click("#go");
    await done();
    assert.match(await page.evaluate(() => globalThis.fake.asked.image.pathname), /scenes-5/);
  });

  test("a page whose program does not load says so", async () => {
    await page?.close();
    page = await browser.context.newPage();
    await page.route("**/dist/index.js", (route) => route.fulfill({ status: 404 }));
    await page.goto(`${site.origin}/demo/`);
    await page.locator("#asleep").waitFor({ timeout: 10_000 });
    await visit();
    assert.equal(await page.locator("#asleep").count(), 0);
  });

  const SITUATIONS = {
    "before anything is chosen": [{}, () => undefined],
    "while the model loads": [{ hold: "download" }, () => sample().click()],
    "with an answer": [{ answer: "a long word: " + "a".repeat(100) }, () => sample().click()],
    "with an answer that does not know": [{ answer: UNKNOWN }, () => sample(10).click()],
    "with an error": [{ failure: { ...NETWORK, message: `https://example.org/${"a".repeat(100)}` } }, () => sample().click()],
    "with warnings": [{ problems: [QUOTA], warnings: [QUOTA] }, () => sample().click()],
    "with the drawing board": [{}, () => page.click("#draw")],
    "with a file of a long name": [{}, () => file(`${"long".repeat(30)}.heic`, "image/heic", Buffer.from("no picture"))],
  };
  for (const [situation, [fake, act]] of Object.entries(SITUATIONS)) {
    test(`${situation}: nothing is wider than a phone, every control has a name, a ring of focus and room for a finger, all text has contrast`, async () => {
      for (const [colorScheme, width] of [["light", 320], ["dark", 360], ["light", 1280]]) {
        await visit({ ...fake, stored: [{ name: "llava", quantization: "q4", bytes: 4e9, total_bytes: 4e9, url: `https://example.org/${"a".repeat(80)}/` }] }, { size: [width, 640], colorScheme });
        await act();
        await page.waitForTimeout(100);
        await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `wider than ${width}`);
        assert.deepEqual(await page.evaluate(namelessControls), []);
        assert.deepEqual(await page.evaluate(faintTexts), [], colorScheme);
        assert.deepEqual(await page.evaluate(smallTargets), []);
        assert.deepEqual(await controlsWithoutRing(), []);
      }
    });
  }

  /** Goes through the page by Tab; gives back what had the focus without showing it. */
  async function controlsWithoutRing() {
    await page.evaluate(() => {
      document.body.tabIndex = -1; // so that Tab begins at the top, and not where the last press was
      document.body.focus();
    });
    const seen = [];
    for (let steps = 0; steps < 60; steps++) {
      await page.keyboard.press("Tab");
      const focused = await page.evaluate(() => {
        const { activeElement } = document;
        if (activeElement === document.body) return undefined;
        // Inputs that are not seen themselves have their ring around what is seen of them.
        const label = activeElement.matches("#file") ? document.querySelector("#file + .button") : activeElement.closest(".choice");
        const { outlineStyle, outlineWidth } = getComputedStyle(label ?? activeElement);
        return { name: activeElement.outerHTML.slice(0, 80), ring: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
      });
      if (!focused) break;
      seen.push(focused);
    }
    assert.ok(seen.length > 15, `only ${seen.length} controls are reached by keys`);
    return seen.filter(({ ring }) => !ring).map(({ name }) => name);
  }
});

// ---- run in the page ----

/** The text that a visitor sees. */
function visibleText() {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.parentElement.checkVisibility({ visibilityProperty: true })) texts.push(walker.currentNode.data);
  return texts.join(" ");
}

/** Controls that a screen reader has no name for. */
function namelessControls() {
  return [...document.querySelectorAll("button, input, summary, canvas, progress, a")]
    .filter((element) => {
      const { ariaLabel, title, textContent, labels } = element;
      return !ariaLabel && !title && !textContent.trim() && !labels?.length && !element.hasAttribute("aria-labelledby");
    })
    .map(({ outerHTML }) => outerHTML);
}

/** Controls that are smaller than the 24 pixels of WCAG 2.2 AA; a link in a sentence may be. */
function smallTargets() {
  return [...document.querySelectorAll("button:not(.link), .button, summary, .choice, #drop, #canvas, input[type=text]")]
    .map((element) => ({ element, box: element.getBoundingClientRect() }))
    .filter(({ element, box }) => element.checkVisibility() && (box.width < 24 || box.height < 24))
    .map(({ element, box }) => `${box.width}x${box.height}: ${element.outerHTML.slice(0, 80)}`);
}

/** Texts of less contrast than WCAG 2 AA asks for: 4.5, of large ones 3. */
function faintTexts() {
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (channels(backgroundColor)[3] !== 0) return backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const check = (element, style, text) => {
    const [light, dark] = [luminance(style.color), luminance(ground(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) faint.push(`${contrast.toFixed(2)}: ${text.trim().slice(0, 60)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (data.trim() && parentElement.checkVisibility({ visibilityProperty: true })) check(parentElement, getComputedStyle(parentElement), data);
  }
  for (const input of document.querySelectorAll("input[type=text]")) {
    check(input, getComputedStyle(input), input.value);
    check(input, getComputedStyle(input, "::placeholder"), input.placeholder);
  }
  for (const problem of document.querySelectorAll(".problem")) {
    const { color, backgroundColor } = getComputedStyle(problem, "::before");
    const [light, dark] = [luminance(color), luminance(backgroundColor)].sort((a, b) => b - a);
    if ((light + 0.05) / (dark + 0.05) < 4.5) faint.push("the sign of an error");
  }
  return faint;
}
