// Apps as users build them, with the tarball installed: each must describe a picture, at the root of a host and below a path.
import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../www/scripts/browser.mjs";
import { serveFiles, start } from "../../www/scripts/serve.mjs";
import { APPS } from "./apps.mjs";
import { background, EVERYTHING, install, shell } from "./setup.mjs";
import { checkOutput, checkVisit, visit } from "./visit.mjs";

/** How long a server may take to start, in ms. */
const PATIENCE = 120_000;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

for (const app of APPS.filter(({ quick }) => quick || EVERYTHING)) {
  for (const base of ["/", "/some/path/"]) {
    test(`${app.name}, at ${base}`, async () => {
      const folder = await install(app.folder);
      // Where frameworks look for files that are served as they are.
      await cp(join(folder, "node_modules/llava-web/demo/samples"), join(folder, "public/samples"), { recursive: true });
      if (app.build) await build(app, folder, base);
      await serving(app, folder, base, async (url) => {
        console.log(`${app.name}, at ${base}: ${await checkVisit(await visit(browser, url))}`);
        if (app.server) assert.match(await renderedOutput(`${url}server/`), app.server);
      });
    });
  }
}

/** What a server has rendered. */
async function renderedOutput(url) {
  const html = await (await fetch(url)).text();
  return /<output>(.*?)<\/output>/.exec(html)?.[1] ?? html;
}

async function build({ name, build, out }, folder, base) {
  // What an earlier build has left could hide what this one lacks.
  if (out) await rm(join(folder, out), { recursive: true, force: true });
  const began = performance.now();
  await shell(build, folder, { BASE: base });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${name}: built in ${seconds} s${out ? `, ${await checkOutput(join(folder, out))}` : ""}`);
}

/** Lets `work` use the app on a static host, or on its framework's own server. */
async function serving({ out, serve }, folder, base, work) {
  if (!serve) {
    const samples = join(folder, "public/samples");
    const host = await start({ handler: serveFiles({ [`${base}samples/`]: samples, [base]: join(folder, out) }) });
    return work(host.origin + base).finally(() => host.close());
  }
  const port = await freePort();
  const server = background(serve, folder, { BASE: base, PORT: String(port) });
  const url = `http://localhost:${port}${base}`;
  try {
    await reachable(url, server);
    await work(url);
  } catch (error) {
    throw new Error(`${error.message}\n${serve}\n${server.log}`);
  } finally {
    server.end();
  }
}

async function reachable(url, server) {
  for (const began = Date.now(); Date.now() - began < PATIENCE && !server.ended; ) {
    if (await fetch(url).then(({ ok }) => ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${url} does not answer`);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
