// The demo in browsers as visitors have them, started without a flag: none of these has a GPU for it here, so that the CPU answers.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { launchProfile as chromium } from "../../www/scripts/browser.mjs";
import { servePackage } from "../e2e/support.mjs";
import { launchProfile as firefox } from "../firefox/driver.mjs";
import { launchProfile as webkit } from "../webkit/driver.mjs";

/** What this machine has none of, as `cargo xtask test` has found. */
const MISSING = (process.env.LLAVA_MISSING_BROWSERS ?? "").split(",");

const BROWSERS = {
  Chromium: (folder) => chromium(folder, { gpu: "plain" }),
  "Firefox without WebGPU": (folder) => firefox(folder, { webgpu: false }),
  "WebKit, Safari's engine": webkit,
};

/** Runs in the demo: asks about the first sample; its title, the answer, what was warned of, and milliseconds from the page's opening to the answer. */
async function ask() {
  const until = async (found) => {
    for (;;) {
      const value = found();
      if (value) return value;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const sample = await until(() => document.querySelector("#samples button"));
  sample.click();
  const failure = () => [...document.querySelectorAll("#failure .problem, #problems .problem")].map(({ textContent }) => textContent).join(" ");
  // While the answer comes it is marked.
  const answer = document.querySelector("#answer");
  await until(() => failure() || (answer.textContent !== "" && !answer.classList.contains("writing")));
  return {
    title: sample.querySelector("img").alt,
    answer: failure() || answer.textContent,
    warnings: [...document.querySelectorAll("#warnings .problem")].map(({ dataset }) => dataset.code),
    ms: Math.round(performance.now()),
  };
}

for (const [name, launch] of Object.entries(BROWSERS)) {
  const skip = MISSING.includes(name.split(/\W/)[0]) && "not installed";
  test(`${name}: the demo answers about a sample on the CPU, and again from what is stored`, { skip }, async (context) => {
    const folder = await mkdtemp(join(tmpdir(), "llava-web-browser-"));
    const site = await servePackage();
    const browser = await launch(folder);
    try {
      const page = await browser.newPage();
      const visits = [];
      for (const visit of ["nothing stored", "stored"]) {
        site.requests = [];
        await page.goto(`${site.origin}/demo/`);
        const told = await page.evaluate(ask);
        context.diagnostic(`${name}, ${visit}: ${told.ms} ms from opening the page to the answer`);
        visits.push({ ...told, engines: site.requests.filter((path) => path.endsWith(".wasm")), chunks: site.requests.filter((path) => path.endsWith(".bin")) });
      }
      for (const { title, answer, warnings } of visits) {
        for (const thing of title.split(", ")) assert.ok(answer.includes(thing), `${title}: ${answer}`);
        assert.deepEqual(warnings, ["webgpu_unavailable"]);
      }
      const [first, second] = visits;
      assert.deepEqual(first.engines, ["/dist/llava-web/engine-cpu.wasm"]);
      assert.ok(first.chunks.length > 0);
      assert.deepEqual(second.chunks, []);
    } finally {
      await browser.close();
      await site.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }); // a child may still be writing
    }
  });
}
