// The package's own files, worker and wasm: found, of one build, kept for a time without a network, and where a policy forbids
// them an error that names the directive. The engine is a fake one; the real files are tried in tests/package.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { load, makeBundle, openBrowser, serveBundles, servePackage } from "./support.mjs";

const WORKER = "/dist/llava-web/worker.js";
const WASM = "/dist/llava-web/engine.wasm";

let browser, site, server;
before(async () => {
  browser = await openBrowser();
  server = await serveBundles({ m: makeBundle() });
});
after(async () => {
  await browser.close();
  await server.close();
});
beforeEach(async () => {
  site = await servePackage({ fake: true });
});
afterEach(() => site.close());

const model = () => `${server.origin}/m/`;

/** Loads in a fresh page and gives back the error as `code: message`. */
async function failure(options) {
  const page = await browser.open(site);
  const { error } = await load(page, model(), options);
  await page.close();
  return error && `${error.code}: ${error.message}`;
}

const PAGE = (response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>app</title>");
const NONE = (response) => response.writeHead(404).end();

test("a file that is missing, or another one in its place, is named with the cure", async () => {
  for (const [path, name] of [[WORKER, "worker"], [WASM, "wasm"]]) {
    for (const answer of [PAGE, NONE]) {
      site.overrides[path] = answer;
      const told = await failure();
      assert.match(told, /^engine_failed: /);
      assert.ok(told.includes(path), told);
      assert.match(told, /Copy dist\/llava-web\//);
      assert.match(told, new RegExp(`configure\\({.*${name}`));
    }
    delete site.overrides[path];
  }
});

test("files of another build are refused", async () => {
  site.overrides[WASM] = (response) => response.writeHead(200, { "content-type": "application/wasm" }).end("another wasm");
  assert.match(await failure(), /^engine_failed: .*engine\.wasm is not the engine of this build/);
  delete site.overrides[WASM];
  const worker = site.fake.worker.replaceAll("0.1.0", "0.0.9");
  site.overrides[WORKER] = (response) => response.writeHead(200, { "content-type": "text/javascript" }).end(worker);
  assert.match(await failure(), /^engine_failed: .*worker.*build 0\.0\.9/);
});

test("a wasm without its type is taken", async () => {
  site.overrides[WASM] = (response) => response.writeHead(200, { "content-type": "application/octet-stream" }).end("no wasm");
  assert.equal(await failure(), undefined);
});

test("per load and once: worker and wasm from elsewhere, a Worker, a function that makes one", async () => {
  const elsewhere = await servePackage({ fake: true });
  for (const path of [WORKER, WASM]) site.overrides[path] = NONE;
  const page = await browser.open(site);
  const outcomes = await page.evaluate(
    async ([url, origin]) => {
      const { load, configure } = globalThis.llava;
      const wasm = `${origin}/dist/llava-web/engine.wasm`;
      const worker = `${origin}/dist/llava-web/worker.js`;
      const make = () => new Worker(URL.createObjectURL(new Blob([`import "${worker}"`], { type: "text/javascript" })), { type: "module" });
      const tried = [];
      const attempt = async (options) => tried.push(await globalThis.attempt(async () => (await load(url, options)).info.model));
      await attempt({ worker, wasm });
      const one = make();
      await attempt({ worker: one, wasm });
      await attempt({ worker: one, wasm });
      await attempt({ worker: make, wasm: new URL(wasm) });
      await attempt({ worker: () => 5, wasm });
      await attempt({});
      configure({ worker, wasm });
      await attempt({});
      configure({ worker: undefined });
      await attempt({});
      return tried.map(({ value, error }) => value ?? `${error.code}: ${error.message}`);
    },
    [model(), elsewhere.origin],
  );
  await elsewhere.close();
  assert.deepEqual([0, 1, 3, 6].map((index) => outcomes[index]), ["fake", "fake", "fake", "fake"]);
  assert.match(outcomes[2], /^invalid_input: `worker`.*has a model already/);
  assert.match(outcomes[4], /^invalid_input: `worker` is a function/);
  assert.match(outcomes[5], /^engine_failed/);
  assert.match(outcomes[7], /^engine_failed/);
});

test("where one engine is said to lie elsewhere, the other is looked for beside it, if it has its own name; or each has its address", async () => {
  const elsewhere = await servePackage({ fake: true });
  const page = await browser.open(site);
  const CPU = "/dist/llava-web/engine-cpu.wasm";
  const at = (file) => `${elsewhere.origin}/dist/llava-web/${file}`;
  const said = [[at("engine.wasm"), true], [at("engine-cpu.wasm"), true], [at("engine-0f3a.wasm"), false], [{ cpu: at("engine-cpu.wasm") }, true], [{ gpu: at("engine.wasm") }, false]];
  for (const [wasm, there] of said) {
    for (const { requests } of [site, elsewhere]) requests.length = 0;
    const { error } = await load(page, model(), { device: "cpu", wasm });
    assert.equal(error, undefined, error?.message);
    assert.deepEqual([elsewhere, site].map(({ requests }) => requests.includes(CPU)), [there, !there]);
  }
  await page.close();
  await elsewhere.close();
});

test("the package on another origin than the page", async () => {
  const page = await browser.context.newPage();
  const other = await servePackage({ fake: true });
  await page.goto(`${other.origin}/blank`);
  const name = await page.evaluate(
    async ([origin, url]) => (await (await import(`${origin}/dist/index.js`)).load(url)).info.model,
    [site.origin, model()],
  );
  await other.close();
  assert.equal(name, "fake");
});

test("a sandboxed frame, whose origin is none, gets an error of ours", async () => {
  const page = await browser.open(site);
  const name = await page.evaluate(
    ([origin, url]) =>
      new Promise((resolve) => {
        addEventListener("message", ({ data }) => resolve(data));
        const script = `import { load } from "${origin}/dist/index.js"; const tell = (text) => parent.postMessage(text, "*");
          load("${url}", { onWarning() {} }).then(({ info }) => tell(info.model), ({ name, code, message }) => tell(name + " " + code + ": " + message));`;
        const srcdoc = `<script type="module">${script}</scr` + "ipt>";
        document.body.append(Object.assign(document.createElement("iframe"), { sandbox: "allow-scripts", srcdoc }));
      }),
    [site.origin, model()],
  );
  await page.close();
  assert.match(name, /^LlavaError engine_failed: .*worker/);
});

const POLICY = "default-src 'self' 'unsafe-eval'; connect-src *; worker-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'";
const FORBIDDEN = {
  "worker-src": [POLICY.replace("worker-src 'self'", "worker-src 'none'"), /worker does not run.*add 'self' to its worker-src/],
  "connect-src, for the engine": [POLICY.replace("connect-src *", "connect-src 'none'"), /engine\.wasm was not fetched.*add 'self' to its connect-src/],
  "connect-src, for the model": [POLICY.replace("connect-src *", "connect-src 'self'"), /manifest\.json was not fetched.*add http:\/\/localhost:\d+ to its connect-src/],
};
for (const [directive, [policy, message]] of Object.entries(FORBIDDEN)) {
  test(`a policy that forbids it by ${directive} is named`, async () => {
    site.headers["content-security-policy"] = policy;
    assert.match(await failure(), message);
  });
}

test("a policy that allows what is needed", async () => {
  site.headers["content-security-policy"] = POLICY;
  assert.equal(await failure(), undefined);
});

const TRUSTED = `${POLICY}; require-trusted-types-for 'script'`;

test("a page that takes trusted types alone", async () => {
  site.headers["content-security-policy"] = `${TRUSTED}; trusted-types llava-web`;
  assert.equal(await failure(), undefined);
  site.headers["content-security-policy"] = `${TRUSTED}; trusted-types other`;
  assert.match(await failure(), /^engine_failed: .*add llava-web to its trusted-types\.$/);
});

/** A page's own service worker, which keeps the page and what it imports, as pages that work offline have. */
const SHELL = `
const files = ["/blank", "/dist/index.js"];
addEventListener("install", (event) => event.waitUntil(caches.open("shell").then((cache) => cache.addAll(files)).then(() => skipWaiting())));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  if (files.includes(new URL(event.request.url).pathname)) event.respondWith(caches.match(event.request));
});
`;

test("without a network a page that is kept itself loads again: worker and wasm are kept too, when the HTTP cache has dropped them", async () => {
  site.overrides["/shell.js"] = (response) => response.writeHead(200, { "content-type": "text/javascript" }).end(SHELL);
  const page = await browser.open(site);
  await page.evaluate(async () => {
    await navigator.serviceWorker.register("/shell.js");
    await navigator.serviceWorker.ready;
  });
  assert.equal((await load(page, model())).error, undefined);
  // The copies are written after the answer; nobody waits for them.
  await page.waitForFunction(async () => (await (await caches.open("llava-web")).keys()).length === 2);
  await site.close();
  await (await browser.context.newCDPSession(page)).send("Network.clearBrowserCache");
  await page.reload();
  await page.evaluate(async () => (globalThis.llava = await import("/dist/index.js")));
  const name = await page.evaluate(async (url) => (await globalThis.llava.load(url, { device: "gpu" })).info.model, model());
  assert.equal(name, "fake");
  await page.close();
});

test("copies of other builds make room", async () => {
  const page = await browser.open(site);
  await page.evaluate(async () => (await caches.open("llava-web")).put(`${location.origin}/old.wasm?llava-web=0.0.1`, new Response("old")));
  await load(page, model());
  await page.waitForFunction(async () => (await (await caches.open("llava-web")).keys()).length === 2);
  const kept = await page.evaluate(async () => (await (await caches.open("llava-web")).keys()).map(({ url }) => new URL(url).pathname).sort());
  assert.deepEqual(kept, [WASM, WORKER].sort());
  await page.close();
});
