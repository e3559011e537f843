// cargo's runner for tests in wasm: wasm-bindgen's, but in Firefox. That one drives browsers by WebDriver's older protocol, for which
// Firefox needs a further program; here it only serves its page.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LONGEST_RUN, resultIn, serveTests } from "../wasm-server.mjs";
import { launchProfile } from "./driver.mjs";

const server = serveTests(process.argv.slice(2));
const profile = await mkdtemp(join(tmpdir(), "llava-web-test-"));
let browser;
try {
  const address = await server.address;
  browser = await launchProfile(profile);
  const page = await browser.newPage();
  await page.goto(address);
  process.exitCode = (await passed(page)) ? 0 : 1;
} finally {
  await browser?.close();
  server.stop();
  await rm(profile, { recursive: true, force: true });
}

/** Prints what the page writes, up to the result, and whether that is good. */
async function passed(page) {
  const deadline = Date.now() + LONGEST_RUN;
  for (let printed = 0; Date.now() < deadline; await sleep(200)) {
    const output = await page.evaluate(() => document.getElementById("output").textContent);
    process.stdout.write(output.slice(printed));
    printed = output.length;
    const result = resultIn(output);
    if (result) return result === "ok";
  }
  throw new Error(`the tests took longer than ${LONGEST_RUN / 1000} s`);
}
