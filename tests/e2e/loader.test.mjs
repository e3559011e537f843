// Loading a bundle in Chromium: network, store, resumption, damage. The engine is a fake one, which checks every chunk it gets.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertSound, eachWithFreshPage, load, makeBundle, only, storedHashes } from "./support.mjs";

let browser, site, server, page;
const bundle = makeBundle();

eachWithFreshPage(bundle, (fresh) => ({ browser, site, server, page } = fresh));
const url = () => `${server.origin}/m/`;

describe("load", () => {
  test("fetches every chunk once and reports bytes that only grow", async () => {
    const { error, value, progress, warnings } = await load(page, url());
    assert.equal(error, undefined);
    assert.equal(value.model, "fake");
    assert.equal(value.url, url());
    assert.deepEqual(server.takeChunks().sort(), bundle.chunkPaths.map((path) => `m/${path}`).sort());
    assert.deepEqual(warnings, []);
    assert.equal(progress[0].phase, "start");
    assert.deepEqual(progress.at(-1), { phase: "compile", loaded: bundle.total_bytes, total: bundle.total_bytes, from_cache: 0 });
    for (const phase of ["download", "load"]) {
      const loaded = progress.filter((event) => event.phase === phase).map((event) => event.loaded);
      assert.deepEqual(loaded, loaded.toSorted((a, b) => a - b), phase);
    }
  });

  test("a second load makes no request at all", async () => {
    await load(page, url());
    server.requests.length = 0;
    assert.equal((await load(page, url())).error, undefined);
    assert.deepEqual(server.requests, []);
    await server.close();
    const { error, progress, warnings } = await load(page, url());
    assert.equal(error, undefined);
    assert.deepEqual(progress.at(-1), { phase: "compile", loaded: bundle.total_bytes, total: bundle.total_bytes, from_cache: bundle.total_bytes });
    assert.ok(progress.every(({ phase }) => phase !== "download"));
    assert.deepEqual(warnings, []);
  });

  test("with update a server that is down is told, and the stored model loads", async () => {
    await load(page, url());
    await server.close();
    const { value, warnings } = await load(page, url(), { update: true });
    assert.equal(value.model, "fake");
    assert.deepEqual(warnings.map(({ code }) => code), ["network"]);
  });

  test("the folder may be given without its slash, as its manifest, or relative to the page", async () => {
    for (const form of [`${server.origin}/m`, `${server.origin}/m/manifest.json`]) {
      const { value } = await load(page, form);
      assert.equal(value.url, url());
    }
  });

  test("after the page is killed in mid-download only what was not stored is fetched", async () => {
    const allowed = 3;
    let served = 0;
    let allServed;
    const held = new Promise((resolve) => (allServed = resolve));
    server.fault = (path) => {
      if (!path.includes("/chunks/") || served++ < allowed) return false;
      if (served > allowed) allServed();
      return true; // and never answer
    };
    page.evaluate((url) => void globalThis.llava.load(url).catch(() => undefined), url());
    await held;
    const stored = await storedChunks(page, allowed);
    await browser.restart();
    server.takeChunks();
    server.fault = () => false;
    page = await browser.open(site);
    const { error, progress } = await load(page, url());
    assert.equal(error, undefined);
    const fetched = server.takeChunks();
    assert.equal(fetched.length, bundle.chunkPaths.length - stored.length);
    assert.ok(fetched.every((path) => !stored.some((hash) => path.includes(hash))));
    // Which three of the six that are asked for at once come first is the browser's choice.
    const sizes = bundle.manifest.chunks.filter(({ sha256 }) => stored.includes(sha256)).map(({ bytes }) => bytes);
    assert.ok(progress.some(({ from_cache }) => from_cache >= sizes.reduce((sum, bytes) => sum + bytes)));
  });

  test("a flipped byte in the store is healed with exactly one fetch", async () => {
    await load(page, url());
    server.takeChunks();
    const hash = bundle.manifest.chunks[2].sha256;
    await changeStored(page, hash, "flip");
    const { error, warnings } = await load(page, url());
    assert.equal(error, undefined);
    assert.deepEqual(server.takeChunks(), [`m/${bundle.chunkPaths[2]}`]);
    assert.match(warnings[0].message, /damaged/);
    assert.equal((await load(page, url())).error, undefined);
    assert.deepEqual(server.takeChunks(), []);
  });

  test("a stored chunk of the wrong size, or gone, is fetched again alone", async () => {
    for (const damage of ["cut", "delete"]) {
      await load(page, url());
      server.takeChunks();
      await changeStored(page, bundle.manifest.chunks[4].sha256, damage);
      assert.equal((await load(page, url())).error, undefined);
      assert.deepEqual(server.takeChunks(), [`m/${bundle.chunkPaths[4]}`], damage);
    }
  });

  test("abort in mid-download rejects at once and keeps what is stored", async () => {
    // Six small chunks at most are on their way or not yet stored, so that a tenth of them leaves some that are; and a busy machine may
    // hand the page's word on only when many more have come.
    const long = (server.bundles.m = makeBundle({ name: "long", seeds: Array.from({ length: 160 }, (_, index) => 50 + index) }));
    const outcome = await page.evaluate(async (url) => {
      const stop = new AbortController();
      const onProgress = ({ phase, loaded, total }) => {
        if (phase === "download" && loaded > total / 10) stop.abort(new Error("enough"));
      };
      return globalThis.attempt(() => globalThis.llava.load(url, { onProgress, signal: stop.signal }));
    }, url());
    assert.deepEqual([outcome.error.code, outcome.error.name, outcome.error.hosted_code], ["aborted", "AbortError", 3008]);
    server.takeChunks();
    assert.equal((await load(page, url())).error, undefined);
    assert.ok(server.takeChunks().length < long.chunkPaths.length);
  });

  test("an aborted signal stops a load before it starts", async () => {
    const outcome = await page.evaluate((url) => globalThis.attempt(() => globalThis.llava.load(url, { signal: AbortSignal.abort() })), url());
    assert.equal(outcome.error.code, "aborted");
    assert.deepEqual(server.requests, []);
  });

  test("a new version at the same address takes over its shared chunks and leaves no garbage", async () => {
    await load(page, url());
    server.takeChunks();
    server.bundles.m = makeBundle({ name: "newer", seeds: [1, 2, 30, 4, 5, 6] });
    assert.equal((await load(page, url())).value.model, "fake", "nobody asked for an update");
    assert.deepEqual(server.takeChunks(), []);
    assert.equal((await load(page, url(), { update: true })).value.model, "newer");
    assert.deepEqual(server.takeChunks(), [`m/${server.bundles.m.chunkPaths[2]}`]);
    const hashes = await storedHashes(page);
    assert.equal(hashes.length, 1 + bundle.chunkPaths.length);
  });

  test("while a new version cannot be fetched whole, the old one still loads without the server", async () => {
    await load(page, url());
    server.bundles.m = makeBundle({ name: "newer", seeds: [10, 20, 30] });
    server.fault = (path, _, response) => path.includes("/chunks/") && response.writeHead(403).end();
    assert.equal((await load(page, url(), { update: true })).error.code, "network");
    server.requests.length = 0;
    const { value } = await load(page, url());
    assert.equal(value.model, "fake");
    assert.deepEqual(server.requests, []);
  });
});

describe("servers that fail", () => {
  const target = bundle.chunkPaths[3];
  /** A fault that strikes the first `times` requests for `path`. */
  const first = (times, path, strike) => (asked, request, response) => asked.endsWith(path) && times-- > 0 && (strike(response, request), true);
  const passing = {
    "503 twice": () => first(2, target, (response) => response.writeHead(503).end()),
    "429 with Retry-After": () => first(1, target, (response) => response.writeHead(429, { "retry-after": "1" }).end()),
    "a broken connection": () => first(2, target, (response) => response.destroy()),
    "a body cut short": () => first(1, target, (response) => response.writeHead(200, { "content-length": 65536 }).write("x".repeat(1000), () => response.destroy())),
    "a short body that looks whole": () => first(1, target, (response) => response.writeHead(200).end("short")),
    "a body damaged on its way": () => first(1, target, (response) => response.writeHead(200).end("x".repeat(65536))),
    "a manifest that is 500 once": () => first(1, "manifest.json", (response) => response.writeHead(500).end()),
  };
  for (const [name, fault] of Object.entries(passing)) {
    test(`${name}: tried again, and the load succeeds`, async () => {
      server.fault = fault();
      const { error } = await load(page, url());
      assert.equal(error, undefined);
    });
  }

  const always = (path, strike) => (asked, _, response) => asked.endsWith(path) && (strike(response), true);
  const lasting = {
    "no manifest": [() => always("manifest.json", (response) => response.writeHead(404).end()), "no_such_model", /manifest.json/],
    "a web page for a manifest": [
      () => always("manifest.json", (response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><p>hello")),
      "bad_bundle",
      /web page instead of a manifest/,
    ],
    "a manifest cut short": [() => always("manifest.json", (response) => response.end('{"format":')), "bad_bundle", /not valid JSON/],
    "a manifest of another format": [() => always("manifest.json", (response) => response.end('{"format":"gguf"}')), "bad_bundle", /`format`/],
    "a manifest of the future": [() => always("manifest.json", (response) => response.end('{"format":"llava-web","version":2}')), "bad_bundle", /update llava-web/],
    "a chunk that is not there": [() => always(target, (response) => response.writeHead(404).end()), "network", /404/],
    "a chunk that stays damaged": [() => always(target, (response) => response.end("x".repeat(65536))), "bad_bundle", /hash/],
  };
  for (const [name, [fault, code, message]] of Object.entries(lasting)) {
    test(`${name}: ${code}`, async () => {
      server.fault = fault();
      const { error } = await load(page, url());
      assert.equal(error.code, code);
      assert.ok(error.llava);
      assert.match(error.message, message);
    });
  }

  test("a server that is not there: network, naming the address", async () => {
    await server.close();
    const { error } = await load(page, url());
    assert.equal(error.code, "network");
    assert.ok(error.message.includes(url()));
  });
});

describe("storage", () => {
  test("two models share chunks: fetched once, and kept until the last one is deleted", async () => {
    const other = makeBundle({ name: "other", seeds: [1, 2, 3, 40] });
    server.bundles.other = other;
    await load(page, url());
    server.takeChunks();
    await load(page, `${server.origin}/other/`);
    assert.deepEqual(server.takeChunks(), [`other/${other.chunkPaths[3]}`]);

    const listed = await page.evaluate(() => globalThis.llava.models.list());
    assert.deepEqual(listed.map(({ name, bytes, total_bytes }) => [name, bytes === total_bytes]), [["other", true], ["fake", true]]);

    await page.evaluate((url) => globalThis.llava.models.delete(url), url());
    assert.equal((await storedHashes(page)).length, 1 + other.chunkPaths.length);
    assert.equal((await load(page, `${server.origin}/other/`)).error, undefined);
    assert.deepEqual(server.takeChunks(), []);
    await page.evaluate((url) => globalThis.llava.models.delete(url), `${server.origin}/other/`);
    assert.deepEqual(await storedHashes(page), []);
    assert.deepEqual(await page.evaluate(() => globalThis.llava.models.list()), []);
  });

  test("a model that an earlier version kept under a name that there is no more can be deleted", async () => {
    await load(page, url());
    const left = await page.evaluate(async (url) => {
      const { openStore } = await import("/build/weights/store.js");
      const store = await openStore();
      const [record] = await store.models();
      await store.putModel({ ...record, url: "llava-web:old" });
      store.close();
      await globalThis.llava.models.delete("llava-web:old");
      return (await globalThis.llava.models.list()).map((model) => model.url === url);
    }, url());
    assert.deepEqual(left, [true]);
    await assertSound(page);
  });

  test("without IndexedDB the model runs from the network, with a warning", async () => {
    site.prelude = 'Object.defineProperty(self, "indexedDB", { get() { throw new DOMException("denied", "SecurityError"); } });';
    const { error, warnings } = await load(page, url());
    assert.equal(error, undefined);
    assert.equal(warnings[0].code, "storage");
    assert.deepEqual(await storedHashes(page), []);
  });

  test("when storage is full the load goes on, says so, and what is stored stays usable", only("chromium"), async () => {
    const other = makeBundle({ name: "other", seeds: [1, 2, 30, 40, 50] });
    server.bundles.other = other;
    await load(page, url());
    const stored = (await storedHashes(page)).length;
    // A browser that runs has settled already how much it may write for a while.
    await browser.restart();
    page = await browser.open(site);
    const cdp = await browser.context.newCDPSession(page);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 1000 });
    const { error, value, warnings } = await load(page, `${server.origin}/other/`);
    assert.equal(error, undefined);
    assert.equal(value.model, "other");
    assert.deepEqual(warnings.map(({ code }) => code), ["quota_exceeded"]);
    assert.equal((await storedHashes(page)).length, stored);
    server.takeChunks();
    assert.equal((await load(page, url())).error, undefined);
    assert.deepEqual(server.takeChunks(), []);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: site.origin });
  });

  test("availability tells what a load would fetch, before and after", async () => {
    const ask = () => page.evaluate(async (url) => {
      const { problems, ...rest } = await globalThis.llava.availability(url);
      return { problems: problems.map(({ code }) => code), ...rest };
    }, url());
    const before = await ask();
    assert.deepEqual([before.available, before.problems, before.bytes_to_download], [true, [], bundle.total_bytes]);
    assert.ok(before.adapter && before.quota > 0);
    await load(page, url());
    const after = await ask();
    assert.deepEqual([after.stored_bytes, after.bytes_to_download], [bundle.total_bytes, 0]);
    await server.close();
    await page.evaluate((url) => globalThis.llava.models.delete(url), url());
    const gone = await ask();
    assert.deepEqual([gone.available, gone.problems, gone.total_bytes], [false, ["network"], undefined]);
  });
});

/** Waits until at least `count` chunks are stored and gives back all hashes. */
async function storedChunks(page, count) {
  for (;;) {
    const hashes = await storedHashes(page);
    const chunks = hashes.filter((hash) => bundle.manifest.chunks.some((chunk) => chunk.sha256 === hash));
    if (chunks.length >= count) return chunks;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Damages a stored file behind the package's back. */
function changeStored(page, hash, damage) {
  return page.evaluate(
    ({ hash, damage }) =>
      new Promise((resolve, reject) => {
        const request = indexedDB.open("llava-web");
        request.onerror = reject;
        request.onsuccess = () => {
          const database = request.result;
          const transaction = database.transaction("files", "readwrite");
          const files = transaction.objectStore("files");
          files.get(hash).onsuccess = ({ target: { result: bytes } }) => {
            if (damage === "flip") bytes[100] ^= 1;
            if (damage === "delete") files.delete(hash);
            else files.put(damage === "cut" ? bytes.slice(0, 10) : bytes, hash);
          };
          transaction.oncomplete = () => {
            database.close();
            resolve();
          };
        };
      }),
    { hash, damage },
  );
}
