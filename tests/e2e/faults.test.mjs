// Servers that fail, storage that runs full, tabs that share a download, browsers that are killed: what a load does in
// Chromium with the real store, and that the store is sound afterwards. The engine is the fake one, which checks every
// chunk it gets.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { assertSound, eachWithFreshPage, load, makeBundle, sha256, storedHashes } from "./support.mjs";

let browser, site, server, page;
const bundle = makeBundle();
const target = bundle.chunkPaths[3];

eachWithFreshPage(bundle, (fresh) => ({ browser, site, server, page } = fresh));
const url = (folder = "m") => `${server.origin}/${folder}/`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** With the fault gone a load succeeds, and after it one that makes no request. */
async function assertRecovers() {
  await assertSound(page);
  server.fault = () => false;
  assert.equal((await load(page, url())).error, undefined);
  server.requests.length = 0;
  const { error, warnings } = await load(page, url());
  assert.deepEqual([error, warnings, server.requests], [undefined, [], []]);
  await assertSound(page);
}

describe("servers", () => {
  test("one that knows no ranges is never asked for one", async () => {
    const ranges = [];
    server.fault = (_, request) => (ranges.push(request.headers.range), false);
    assert.equal((await load(page, url())).error, undefined);
    assert.deepEqual([...new Set(ranges)], [undefined]);
    await assertRecovers();
  });

  test("one that compresses: what counts is what comes out", async () => {
    let compressed = 0;
    server.fault = (path, _, response) => {
      const bytes = bundle.files.get(path.slice(2));
      const body = gzipSync(bytes);
      compressed++;
      response.writeHead(200, { "content-encoding": "gzip", "content-length": body.length }).end(body);
      return true;
    };
    const { error, progress } = await load(page, url());
    assert.equal(error, undefined);
    assert.equal(compressed, 2 + bundle.chunkPaths.length);
    assert.ok(progress.every(({ loaded, total }) => loaded <= total));
    await assertRecovers();
  });

  test("one that says gzip where there is none: network, naming the file", async () => {
    server.fault = (path, _, response) => path.endsWith(target) && (response.writeHead(200, { "content-encoding": "gzip" }).end("no gzip"), true);
    const { error } = await load(page, url());
    assert.equal(error.code, "network");
    assert.ok(error.message.includes(target), error.message);
    await assertRecovers();
  });

  for (const [what, change, message] of [
    ["too long", (bytes) => Buffer.concat([bytes, Buffer.from("!")]), /is larger than the 65536 bytes/],
    ["too short", (bytes) => bytes.subarray(1), /broke off after 65535 of 65536 bytes/],
  ]) {
    test(`one whose file is ${what}: bad_bundle`, async () => {
      server.fault = (path, _, response) => path.endsWith(target) && (response.end(change(bundle.files.get(target))), true);
      const { error } = await load(page, url());
      assert.equal(error.code, "bad_bundle");
      assert.match(error.message, message);
      await assertRecovers();
    });
  }

  test("one that sends a web page for every address it does not know: bad_bundle at the first one", async () => {
    const html = (response) => response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html>" + "<p>hello</p>".repeat(9000));
    for (const file of ["tokenizer.json", target]) {
      server.fault = (path, _, response) => path.endsWith(file) && (html(response), true);
      server.requests.length = 0;
      const { error } = await load(page, url());
      assert.equal(error.code, "bad_bundle");
      assert.match(error.message, /web page in its place/);
      assert.equal(server.requests.filter((path) => path.endsWith(file)).length, 1, "trying again would not help");
    }
    await assertRecovers();
  });

  test("one that is flaky: every file fails twice, each time in another way", async () => {
    const faults = [
      (response) => response.writeHead(503).end(),
      (response) => response.writeHead(429, { "retry-after": "0" }).end(),
      (response) => response.destroy(),
      (response) => response.writeHead(200, { "content-length": 65536 }).write("x".repeat(100), () => response.destroy()),
      (response) => response.writeHead(502, { "content-type": "text/html" }).end("<p>bad gateway"),
    ];
    const seen = new Map();
    let count = 0;
    server.fault = (path, _, response) => {
      const times = (seen.get(path) ?? 0) + 1;
      seen.set(path, times);
      if (times > 2) return false;
      faults[count++ % faults.length](response);
      return true;
    };
    assert.equal((await load(page, url())).error, undefined);
    assert.equal(count, 2 * (2 + bundle.chunkPaths.length));
    await assertRecovers();
  });

  test("one that asks for a pause gets it", async () => {
    const times = [];
    server.fault = (path, _, response) => {
      if (!path.endsWith(target)) return false;
      times.push(performance.now());
      if (times.length > 1) return false;
      response.writeHead(429, { "retry-after": "3" }).end();
      return true;
    };
    assert.equal((await load(page, url())).error, undefined);
    // By itself the first pause is half a second, or ten where a busy server does not say.
    const pause = times[1] - times[0];
    assert.ok(pause >= 2900 && pause < 9000, `${pause} ms`);
    await assertRecovers();
  });

  test("one that is slow but steady is waited for; one that says nothing is asked again", { timeout: 120_000 }, async () => {
    let silent = true;
    server.fault = async (path, _, response) => {
      if (path.endsWith(bundle.chunkPaths[4]) && silent) {
        silent = false;
        return true; // and never answer
      }
      if (!path.endsWith(target)) return false;
      const bytes = bundle.files.get(target);
      response.writeHead(200, { "content-length": bytes.length });
      for (let at = 0; at < bytes.length; at += 8192) {
        response.write(bytes.subarray(at, at + 8192));
        await sleep(250);
      }
      response.end();
      return true;
    };
    assert.equal((await load(page, url())).error, undefined);
    assert.equal(server.requests.filter((path) => path.endsWith(target)).length, 1);
    assert.equal(server.requests.filter((path) => path.endsWith(bundle.chunkPaths[4])).length, 2);
    await assertRecovers();
  });
});

describe("storage", () => {
  const MIB = 1024 * 1024;
  const large = (name, first) => makeBundle({ name, chunkBytes: MIB, seeds: Array.from({ length: 8 }, (_, index) => first + index) });

  /** Leaves the site `room` bytes beyond what it has stored. */
  async function leaveRoom(room) {
    const { usage } = await page.evaluate(() => navigator.storage.estimate());
    // A browser that runs has settled already how much it may write for a while.
    await browser.restart();
    page = await browser.open(site);
    const cdp = await browser.context.newCDPSession(page);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: usage + room });
    return () => cdp.send("Storage.overrideQuotaForOrigin", { origin: site.origin });
  }

  test("that runs full in mid-download: the load goes on, says what is missing, and the next one fetches just that", async () => {
    const model = (server.bundles.m = large("large", 100));
    const lift = await leaveRoom(4 * MIB);
    const { error, warnings } = await load(page, url());
    assert.equal(error, undefined);
    assert.deepEqual(warnings.map(({ code }) => code), ["quota_exceeded"]);
    const stored = await assertSound(page);
    assert.ok(stored.length > 1 && stored.length < model.files.size - 1, `${stored.length} files are stored`);
    const here = [...model.files].reduce((sum, [, bytes]) => sum + (stored.includes(sha256(bytes)) ? bytes.length : 0), 0);
    assert.ok(warnings[0].message.includes(`${((model.total_bytes - here) / 1e6).toFixed(1)} MB more are needed`), warnings[0].message);
    await lift();
    await browser.restart();
    page = await browser.open(site);
    server.takeChunks();
    assert.equal((await load(page, url())).error, undefined);
    const missing = model.chunkPaths.filter((path) => !stored.includes(sha256(model.files.get(path))));
    assert.deepEqual(server.takeChunks().sort(), missing.map((path) => `m/${path}`).sort());
    await assertRecovers();
  });

  test("that is full: with `evict` the model unused for longest goes, no more than one if that is enough", { timeout: 120_000 }, async () => {
    for (const [index, name] of ["first", "second", "third"].entries()) server.bundles[name] = large(name, 200 + 10 * index);
    for (const name of ["first", "second"]) assert.equal((await load(page, url(name))).error, undefined);
    await load(page, url("first")); // now the second one is the least recently used
    const lift = await leaveRoom(3 * MIB);
    const kept = async () => (await page.evaluate(() => globalThis.llava.models.list())).map(({ name, bytes, total_bytes }) => [name, bytes === total_bytes]);
    const unasked = await load(page, url("third"));
    assert.deepEqual(unasked.warnings.map(({ code }) => code), ["quota_exceeded"]);
    assert.deepEqual(await kept(), [["third", false], ["first", true], ["second", true]], "nothing is deleted unless asked");

    const { error, warnings } = await load(page, url("third"), { evict: true });
    assert.equal(error, undefined);
    assert.deepEqual(warnings.map(({ message }) => message), [`The stored model second (${url("second")}) was deleted to make room.`]);
    assert.deepEqual(await kept(), [["third", true], ["first", true]]);
    await assertSound(page);
    await lift();
  });

  test("when there is nothing to evict, the load goes on as without", async () => {
    server.bundles.m = large("large", 300);
    const lift = await leaveRoom(3 * MIB);
    const { error, warnings } = await load(page, url(), { evict: true });
    assert.deepEqual([error, warnings.map(({ code }) => code)], [undefined, ["quota_exceeded"]]);
    assert.match(warnings[0].message, /more are needed to keep large/);
    await assertSound(page);
    await lift();
  });

  test("without IndexedDB the model runs from the network, with a warning, each time", async () => {
    site.prelude = 'Object.defineProperty(self, "indexedDB", { get() { throw new DOMException("denied", "SecurityError"); } });';
    for (let visit = 0; visit < 2; visit++) {
      const { error, warnings } = await load(page, url());
      assert.deepEqual([error, warnings.map(({ code }) => code)], [undefined, ["storage"]]);
      assert.equal(server.takeChunks().length, bundle.chunkPaths.length);
    }
    site.prelude = "";
    await assertRecovers();
  });
});

describe("tabs", () => {
  const model = makeBundle({ name: "shared", seeds: Array.from({ length: 20 }, (_, index) => 400 + index) });
  /** Every chunk takes a while, so that both tabs meet. */
  const slowly = async (path) => path.includes("/chunks/") && (await sleep(60), false);
  const fetched = () => server.requests.filter((path) => path.includes("/chunks/"));

  test("two that load one model fetch it once", async () => {
    server.bundles.m = model;
    server.fault = slowly;
    const other = await browser.open(site);
    const outcomes = await Promise.all([load(page, url()), load(other, url())]);
    for (const { error, warnings } of outcomes) assert.deepEqual([error, warnings], [undefined, []]);
    assert.deepEqual(fetched().sort(), model.chunkPaths.map((path) => `m/${path}`).sort());
    await other.close();
    await assertRecovers();
  });

  test("when the first one is closed the second one carries on", async () => {
    server.bundles.m = model;
    server.fault = slowly;
    const first = await browser.open(site);
    const closed = load(first, url()).catch(() => undefined);
    while (fetched().length < 5) await sleep(10);
    const second = load(page, url());
    while (fetched().length < 10) await sleep(10);
    await first.close();
    const { error, warnings } = await second;
    assert.deepEqual([error, warnings], [undefined, []]);
    // What was on its way in the tab that was closed comes again: six small files at most.
    assert.ok(fetched().length <= model.chunkPaths.length + 6, `${fetched().length} chunks of ${model.chunkPaths.length}`);
    assert.deepEqual([...new Set(fetched())].length, model.chunkPaths.length);
    await closed;
    await assertRecovers();
  });
});

describe("browsers", () => {
  test("one that is killed in mid-download: what was stored is not fetched again", { timeout: 120_000 }, async () => {
    const model = (server.bundles.m = makeBundle({ name: "killed", chunkBytes: 8 * 1024 * 1024, seeds: [500, 501, 502, 503] }));
    server.fault = (path) => path.endsWith(model.chunkPaths[1]); // which never answers
    void load(page, url()).catch(() => undefined);
    while ((await storedHashes(page)).length < model.chunkPaths.length) await sleep(20); // the tokenizer, and all chunks but that one
    await browser.restart();
    page = await browser.open(site);
    await assertSound(page);
    server.fault = () => false;
    assert.equal((await load(page, url())).error, undefined);
    assert.equal(server.takeChunks().length, model.chunkPaths.length + 1);
    await assertRecovers();
  });

  test("no more than 64 MiB have come and are not stored", { timeout: 120_000 }, async () => {
    const model = (server.bundles.m = makeBundle({ name: "large", chunkBytes: 16 * 1024 * 1024, seeds: [510, 511, 512, 513, 514, 515, 516] }));
    // All but the last byte, without which a chunk is not stored.
    server.fault = (path, request, response) => {
      if (!path.includes("/chunks/")) return false;
      const bytes = model.files.get(path.replace("m/", ""));
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, bytes.length - 1));
      return true;
    };
    await page.evaluate((url) => {
      globalThis.stop = new AbortController();
      globalThis.llava.load(url, { signal: globalThis.stop.signal, onProgress: ({ loaded }) => (globalThis.loaded = loaded) }).catch(() => undefined);
    }, url());
    const loaded = () => page.evaluate(() => globalThis.loaded ?? 0);
    for (let before = -1; before !== (await loaded()) || before === 0; await sleep(1000)) before = await loaded();
    const most = 64 * 1024 * 1024;
    assert.ok((await loaded()) <= most + 1024 * 1024, `${await loaded()} bytes, the tokenizer among them`);
    assert.ok((await loaded()) > most / 2);
    assert.equal(server.takeChunks().length, 6);
    await page.evaluate(() => globalThis.stop.abort());
    server.fault = () => false;
    assert.equal((await load(page, url())).error, undefined);
    await assertRecovers();
  });

  test("one that is killed ten times in one download ends it whole", { timeout: 300_000 }, async () => {
    const [kills, atOnce] = [10, 6];
    const seeds = Array.from({ length: 60 }, (_, index) => 600 + index);
    const model = (server.bundles.m = makeBundle({ name: "killed often", chunkBytes: 256 * 1024, seeds }));
    server.fault = async (path) => path.includes("/chunks/") && (await sleep(20), false);
    let chunks = 0;
    for (let kill = 0; kill < kills; kill++) {
      void load(page, url()).catch(() => undefined);
      const until = (kill + Math.random()) * (model.chunkPaths.length / kills);
      while (chunks + server.requests.filter((path) => path.includes("/chunks/")).length < until) await sleep(5);
      await sleep(Math.random() * 40);
      await browser.restart();
      chunks += server.takeChunks().length;
      page = await browser.open(site);
      await assertSound(page);
    }
    const { error, warnings } = await load(page, url());
    assert.deepEqual([error, warnings], [undefined, []]);
    chunks += server.takeChunks().length;
    console.log(`${chunks} chunks fetched of ${model.chunkPaths.length}, with ${kills} kills`);
    assert.ok(chunks <= model.chunkPaths.length + atOnce * kills);
    assert.equal((await assertSound(page)).length, model.files.size - 1);
    await assertRecovers();
  });
});
