// cargo's runner for tests in wasm: wasm-bindgen's, but in Firefox. That one drives browsers by WebDriver's older protocol, for which
// Firefox needs a further program; here it only serves its page.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { launchProfile } from "./driver.mjs";

/** For all tests together, in ms. */
const LONGEST_RUN = 10 * 60_000;

const server = spawn("wasm-bindgen-test-runner", process.argv.slice(2), {
  env: { ...process.env, NO_HEADLESS: "1", WASM_BINDGEN_TEST_ADDRESS: "127.0.0.1:0" },
  stdio: ["ignore", "pipe", "inherit"],
});
const profile = await mkdtemp(join(tmpdir(), "llava-web-test-"));
let browser;
try {
  const address = await served();
  browser = await launchProfile(profile);
  const page = await browser.newPage();
  await page.goto(address);
  process.exitCode = (await passed(page)) ? 0 : 1;
} finally {
  await browser?.close();
  server.kill();
  await rm(profile, { recursive: true, force: true });
}

/** Where the server says that the tests are. */
function served() {
  return new Promise((done, fail) => {
    server.once("error", fail);
    server.once("close", (code) => fail(new Error(`wasm-bindgen-test-runner ended with ${code}`)));
    createInterface(server.stdout).on("line", (line) => {
      const [address] = line.match(/http:\S+/) ?? [];
      if (address) done(address);
    });
  });
}

/** Prints what the page writes, up to the result, and whether that is good. */
async function passed(page) {
  const deadline = Date.now() + LONGEST_RUN;
  for (let printed = 0; Date.now() < deadline; await sleep(200)) {
    const output = await page.evaluate(() => document.getElementById("output").textContent);
    process.stdout.write(output.slice(printed));
    printed = output.length;
    const [, result] = output.match(/^test result: (\w+)\..*\n/m) ?? [];
    if (result) return result === "ok";
  }
  throw new Error(`the tests took longer than ${LONGEST_RUN / 1000} s`);
}
