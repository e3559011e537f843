// The tarball without a bundler: import maps, another origin, strict policies, threads that have no Worker.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../www/scripts/browser.mjs";
import { serveFiles, start } from "../../www/scripts/serve.mjs";
import { install } from "./setup.mjs";
import { checkAnswer, checkVisit, visit } from "./visit.mjs";

const IMPORT_MAP = '<script type="importmap">{ "imports": { "llava-web": "./node_modules/llava-web/dist/index.js" } }</script>';

let browser, folder, html;
before(async () => {
  browser = await launch();
  folder = await install("plain");
  const index = await readFile(join(folder, "index.html"), "utf8");
  html = index.replace("<script", `${IMPORT_MAP}\n    <script`);
});
after(() => browser.close());

/** Serves the plain app below `base`, its page as `page`, with these headers on everything. */
function host({ base = "/", page = html, headers = {} } = {}) {
  const files = serveFiles({ [`${base}samples/`]: join(folder, "node_modules/llava-web/demo/samples"), [base]: folder });
  const handler = (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (request.url === base) return response.writeHead(200, { "content-type": "text/html" }).end(page);
    return files(request, response);
  };
  return start({ handler });
}

/** Lets `work` use such a host. */
async function hosted(options, work) {
  const site = await host(options);
  return work(site.origin).finally(() => site.close());
}

for (const base of ["/", "/some/path/"]) {
  test(`import map, at ${base}`, () =>
    hosted({ base }, async (origin) => console.log(`import map, at ${base}: ${await checkVisit(await visit(browser, origin + base))}`)));
}

/** The page with the package from `origin`. */
const pageOf = (origin) => html.replace("./node_modules/", `${origin}/node_modules/`);

test("the package on another origin", () =>
  hosted({}, (elsewhere) =>
    hosted({ page: pageOf(elsewhere) }, async (origin) => console.log(`another origin: ${await checkVisit(await visit(browser, `${origin}/`))}`))));

test("the demo, below a path", () =>
  hosted({ base: "/some/path/" }, async (origin) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(`${origin}/some/path/node_modules/llava-web/demo/`);
    await page.locator("#samples button", { has: page.locator("[alt*='teal circle']") }).click();
    await page.locator("#status", { hasText: "tokens/s" }).filter({ hasNotText: "so far" }).waitFor({ timeout: 180_000 });
    checkAnswer(await page.locator("#answer").textContent());
    assert.deepEqual(errors, []);
    await context.close();
  }));

// ---- policies ----

/** A policy that allows no more than the page needs: its own files, its import map, and the package from `elsewhere` if it is there. */
function directives(page, elsewhere) {
  const [, map] = /<script type="importmap">(.*)<\/script>/.exec(page);
  const hash = `'sha256-${createHash("sha256").update(map).digest("base64")}'`;
  return {
    "default-src": "'none'",
    "img-src": "data:",
    "script-src": `'self' ${hash} 'wasm-unsafe-eval' ${elsewhere ?? ""}`,
    "worker-src": elsewhere ? `blob: ${elsewhere}` : "'self'",
    "connect-src": `'self' ${elsewhere ?? ""}`,
  };
}

const policy = (directives) => ({ "content-security-policy": Object.entries(directives).map((directive) => directive.join(" ")).join("; ") });

test("a strict policy that allows what is needed", () =>
  hosted({ headers: policy(directives(html)) }, async (origin) => checkVisit(await visit(browser, `${origin}/`))));

test("a strict policy, with the package on another origin", () =>
  hosted({}, (elsewhere) => {
    const page = pageOf(elsewhere);
    const headers = policy(directives(page, elsewhere));
    return hosted({ page, headers }, async (origin) => checkVisit(await visit(browser, `${origin}/`)));
  }));

for (const name of ["worker-src", "connect-src", "'wasm-unsafe-eval'"]) {
  test(`a policy without ${name} is told by that name`, () => {
    const allowed = directives(html);
    if (name in allowed) allowed[name] = "'none'";
    else allowed["script-src"] = allowed["script-src"].replace(name, "");
    return hosted({ headers: policy(allowed) }, async (origin) => {
      const { answer } = await visit(browser, `${origin}/`);
      assert.match(answer, /^LlavaError /);
      assert.ok(answer.includes(name), answer);
    });
  });
}

for (const present of ["'self'", "blob:"]) {
  test(`a policy for another origin with no more than ${present} in worker-src is told by that name`, () =>
    hosted({}, (elsewhere) => {
      const page = pageOf(elsewhere);
      const headers = policy({ ...directives(page, elsewhere), "worker-src": present });
      return hosted({ page, headers }, async (origin) => {
        const { answer } = await visit(browser, `${origin}/`);
        assert.match(answer, /^LlavaError .*worker-src/);
        assert.ok(answer.includes(present === "blob:" ? elsewhere : "blob:"), answer);
      });
    }));
}

// ---- threads ----

/** Runs `work` in an empty page of the plain app, below /threads/. */
async function inPage(work, argument) {
  const site = await host();
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const empty = `${site.origin}/threads/`;
    await page.route(empty, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>threads</title>" }));
    await page.goto(empty);
    return await page.evaluate(work, argument);
  } finally {
    await context.close();
    await site.close();
  }
}

function askSharedWorker() {
  const worker = new SharedWorker("shared-worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onerror = ({ message }) => reject(new Error(message ?? "the shared worker does not start"));
    worker.port.onmessage = ({ data }) => resolve(data);
  });
}

test("a SharedWorker answers", async () => checkAnswer(await inPage(askSharedWorker)));

async function askServiceWorker(engineGiven) {
  await navigator.serviceWorker.register("service-worker.js", { type: "module" });
  const { active } = await navigator.serviceWorker.ready;
  return new Promise((resolve) => {
    navigator.serviceWorker.onmessage = ({ data }) => resolve(data);
    active.postMessage({ engineGiven });
  });
}

test("a service worker that is given the engine answers", async () => checkAnswer(await inPage(askServiceWorker, true)));

test("a service worker that is not is told what to do", async () =>
  assert.match(await inPage(askServiceWorker, false), /^LlavaError engine_failed: .*configure\({ engine }\)/));
