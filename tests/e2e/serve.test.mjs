// The static server: right types, no way out of its folders.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serveFiles, start } from "../../www/scripts/serve.mjs";

const CHUNK = `chunks/${"0".repeat(64)}.bin`;
let folder, server;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "llava-web-test-"));
  await mkdir(join(folder, "open/chunks"), { recursive: true });
  await mkdir(join(folder, "open-not"), { recursive: true });
  for (const file of ["open/index.html", "open/a b.js", "open/x.wasm", "open/m.json", `open/${CHUNK}`, "open-not/secret", "secret"]) {
    await writeFile(join(folder, file), file);
  }
  server = await start({ handler: serveFiles({ "/open/": join(folder, "open") }) });
});
after(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

/** A request whose path is sent as it is written, which `fetch` would tidy up. */
function ask(path, { method = "GET", headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const { port } = new URL(server.origin);
    const sent = request({ host: "127.0.0.1", port, path, method, headers }, async (response) => {
      let body = "";
      for await (const piece of response) body += piece;
      resolve({ status: response.statusCode, headers: response.headers, body });
    });
    sent.on("error", reject).end();
  });
}

const SERVED = {
  "/open/": "text/html; charset=utf-8",
  "/open/index.html?x=1": "text/html; charset=utf-8",
  "/open/a%20b.js": "text/javascript; charset=utf-8",
  "/open/x.wasm": "application/wasm",
  "/open/m.json": "application/json; charset=utf-8",
  [`/open/${CHUNK}`]: "application/octet-stream",
};
for (const [path, type] of Object.entries(SERVED)) {
  test(`${path} is ${type}`, async () => {
    const { status, headers, body } = await ask(path);
    assert.deepEqual([status, headers["content-type"]], [200, type]);
    assert.ok(body.startsWith("open/"));
    assert.match(headers["cache-control"], path.includes("chunks") ? /immutable/ : /no-cache/);
    const again = await ask(path, { headers: { "if-none-match": headers.etag } });
    assert.equal(again.status, 304);
  });
}

const REFUSED = {
  "/open/../secret": 404,
  "/open/%2e%2e/secret": 404,
  "/open/%2e%2e%2fsecret": 404,
  "/open/..%5csecret": 400,
  "/open-not/secret": 404,
  "/secret": 404,
  "//etc/passwd": 404,
  "/open//etc/passwd": 404,
  "/open/%00": 400,
  "/open/%zz": 400,
  "/open/none": 404,
};
for (const [path, expected] of Object.entries(REFUSED)) {
  test(`${path} is refused with ${expected}`, async () => assert.equal((await ask(path)).status, expected));
}

test("a folder is asked for with its slash; the root is the demo; HEAD has no body; nothing can be written", async () => {
  assert.equal((await ask("/open")).headers.location, "/open/");
  assert.equal((await ask("/")).headers.location, "/demo/");
  assert.equal((await ask("/open/x.wasm", { method: "HEAD" })).body, "");
  assert.equal((await ask("/open/x.wasm", { method: "PUT" })).status, 405);
});
