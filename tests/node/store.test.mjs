// The store in a folder: what was fetched stays, whatever ended the program; damage is repaired; processes share it.
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { asking, faults, freshFolder, readModel, ROOT, runProgram, SAID, serveBundles, sha256, startProgram, storedHashes, until } from "./support.mjs";

let model, host, url, cache;
before(async () => {
  model = await readModel();
  host = await serveBundles({ model });
  url = `${host.origin}/model/`;
});
after(() => host.close());
beforeEach(async () => {
  host.fault = () => false;
  host.requests = [];
  cache = join(await freshFolder(), "cache");
});

const chunks = () => model.manifest.chunks;
const isChunk = (path, wanted) => wanted.some(({ file }) => path.endsWith(file));

test("a first load stores the model, and the second one asks nobody", async () => {
  const first = await runProgram(asking(url), { cache });
  assert.deepEqual(first, { answer: SAID, warnings: [], from_cache: 0 });
  assert.equal(host.takeChunks().length, chunks().length);
  assert.deepEqual(await faults(cache), []);
  // A host that answers nothing would fail the load.
  host.fault = (_, __, response) => response.destroy();
  const second = await runProgram(asking(url), { cache });
  assert.deepEqual([second.answer, second.warnings], [SAID, []]);
  assert.ok(second.from_cache > 5e6);
  assert.deepEqual(host.requests, []);
});

test("a program that is killed in mid-download goes on at what is not stored", async () => {
  const late = chunks().slice(3);
  host.fault = (path) => isChunk(path, late); // never answered
  const program = await startProgram(asking(url), { cache });
  await until(async () => (await storedHashes(cache)).length === 4, "tokenizer and three chunks in the store");
  await program.kill();
  assert.deepEqual(await faults(cache), []);
  host.fault = () => false;
  host.takeChunks();
  assert.deepEqual(await runProgram(asking(url), { cache }).then(({ answer, warnings }) => [answer, warnings]), [SAID, []]);
  assert.deepEqual(host.takeChunks().sort(), late.map(({ file }) => `model/${file}`).sort());
  assert.deepEqual(await faults(cache), []);
});

test("whenever a program is killed, the store is sound and the next one answers", async () => {
  // Chunks trickle, so that kills come between all steps of a load.
  host.fault = async () => {
    await new Promise((resolve) => setTimeout(resolve, 60 * Math.random()));
    return false;
  };
  for (let delay = 60; delay <= 420; delay += 40) {
    const program = await startProgram(asking(url), { cache });
    await Promise.race([program.gone, new Promise((resolve) => setTimeout(resolve, delay))]);
    await program.kill();
    assert.deepEqual(await faults(cache), [], `killed after ${delay} ms`);
  }
  assert.equal((await runProgram(asking(url), { cache })).answer, SAID);
  assert.deepEqual(await faults(cache), []);
});

describe("damage", () => {
  const damages = {
    "bytes that changed": (bytes) => bytes.with(bytes.length >> 1, bytes[bytes.length >> 1] ^ 1),
    "a file that is cut off": (bytes) => bytes.subarray(0, 1000),
    "an empty file": () => new Uint8Array(),
  };
  for (const [what, damage] of Object.entries(damages)) {
    test(`${what}: that chunk is fetched again, alone`, async () => {
      await runProgram(asking(url), { cache });
      host.takeChunks();
      const { file, sha256: hash } = chunks()[2];
      const path = join(cache, "files", hash);
      await writeFile(path, damage(new Uint8Array(await readFile(path))));
      const { answer, warnings } = await runProgram(asking(url), { cache });
      assert.deepEqual([answer, warnings.map(({ code }) => code)], [SAID, ["storage"]]);
      assert.match(warnings[0].message, new RegExp(`${file}.*damaged`));
      assert.deepEqual(host.takeChunks(), [`model/${file}`]);
      assert.deepEqual(await faults(cache), []);
    });
  }

  test("a record that is none is no hindrance", async () => {
    await runProgram(asking(url), { cache });
    for (const name of await readdir(join(cache, "models"))) await writeFile(join(cache, "models", name), '{"url":');
    assert.equal((await runProgram(asking(url), { cache })).answer, SAID);
    assert.deepEqual(await faults(cache), []);
  });
});

test("processes that load at once, and threads of one, all answer, and the store is sound", async () => {
  const two = `
    import { load } from "llava-web";
    const models = await Promise.all([load(${JSON.stringify(url)}), load(${JSON.stringify(url)})]);
    console.log(JSON.stringify(await Promise.all(models.map((model) => model.caption(${JSON.stringify(join(ROOT, "tests/held-out/scene-0010.png"))})))));`;
  const answers = await Promise.all([runProgram(asking(url), { cache }), runProgram(asking(url), { cache }), runProgram(two, { cache })]);
  assert.deepEqual([answers[0].answer, answers[1].answer, ...answers[2]], [SAID, SAID, SAID, SAID]);
  assert.deepEqual(await faults(cache), []);
  assert.deepEqual((await readdir(join(cache, "files"))).filter((name) => name.endsWith(".tmp")), []);
  host.requests = [];
  await runProgram(asking(url), { cache });
  assert.deepEqual(host.requests, []);
});

test("of a new version only what changed is fetched, and what no version names goes", async () => {
  await runProgram(asking(url), { cache });
  const { manifest, files } = model;
  const tokenizer = Buffer.concat([files.get(manifest.tokenizer.file), Buffer.from("\n")]);
  const changed = { ...manifest, tokenizer: { ...manifest.tokenizer, bytes: tokenizer.length, sha256: sha256(tokenizer) } };
  changed.total_bytes += 1;
  host.bundles = { model: { files: new Map([...files, ["manifest.json", Buffer.from(JSON.stringify(changed))], [manifest.tokenizer.file, tokenizer]]) } };
  try {
    host.requests = [];
    assert.equal((await runProgram(asking(url), { cache })).answer, SAID);
    assert.deepEqual(host.requests, []);
    assert.equal((await runProgram(asking(url, { update: true }), { cache })).answer, SAID);
    assert.deepEqual(host.requests.sort(), [`model/${manifest.tokenizer.file}`, "model/manifest.json"].sort());
  } finally {
    host.bundles = { model };
  }
  const hashes = await storedHashes(cache);
  assert.ok(hashes.includes(changed.tokenizer.sha256) && !hashes.includes(manifest.tokenizer.sha256));
  assert.deepEqual(await faults(cache), []);
});

test("models are listed and deleted", async () => {
  await runProgram(asking(url), { cache });
  const source = `
    import { models } from "llava-web";
    const before = await models.list();
    await models.delete(before[0].url);
    console.log(JSON.stringify([before, await models.list()]));`;
  const [[listed, ...others], left] = await runProgram(source, { cache });
  assert.deepEqual([listed.url, listed.bytes, listed.total_bytes, others, left], [url, model.manifest.total_bytes, model.manifest.total_bytes, [], []]);
  assert.deepEqual(await storedHashes(cache), []);
});

test("a folder on this machine is read where it is", async () => {
  assert.deepEqual(await runProgram(asking(join(ROOT, "models/llava-sketches")), { cache }), { answer: SAID, warnings: [], from_cache: 0 });
  assert.deepEqual(await storedHashes(cache), []);
});

test("a damaged chunk of a folder is told by its name, at once", async () => {
  const folder = await freshFolder();
  for (const [name, bytes] of model.files) {
    await mkdir(join(folder, "chunks"), { recursive: true });
    await writeFile(join(folder, name), name === chunks()[1].file ? new Uint8Array(bytes.length) : bytes);
  }
  const began = performance.now();
  await assert.rejects(runProgram(asking(folder), { cache }), (error) => error.message.includes(chunks()[1].file) && error.message.includes("bad_bundle"));
  assert.ok(performance.now() - began < 5000);
});

test("without LLAVA_WEB_CACHE it lies in the user's cache folder", async () => {
  const folders = { linux: { XDG_CACHE_HOME: cache }, darwin: { HOME: cache }, win32: { LOCALAPPDATA: cache } };
  const below = process.platform === "darwin" ? "Library/Caches/llava-web" : "llava-web";
  await runProgram(asking(url), { cache: "", env: folders[process.platform] ?? folders.linux });
  assert.equal((await storedHashes(join(cache, below))).length, chunks().length + 1);
});

test("where nothing can be kept a warning says so, and the model answers", async () => {
  const file = join(await freshFolder(), "file");
  await writeFile(file, "");
  const { answer, warnings } = await runProgram(asking(url), { cache: join(file, "cache") });
  assert.deepEqual([answer, warnings.map(({ code }) => code)], [SAID, ["storage"]]);
  assert.match(warnings[0].message, /LLAVA_WEB_CACHE/);
});

test("what one process takes for garbage is never what another one has just stored", async () => {
  const store = JSON.stringify(new URL("../../www/build/node/weights/store.node.js", import.meta.url).href);
  const loading = `
    const { openStore } = await import(${store});
    const store = await openStore();
    let lost = 0;
    for (let round = 0; round < 200; round++) {
      const hash = String(round).padStart(64, "0");
      const url = String(round);
      const record = { url, name: "a", manifest: "", files: [{ file: "a", bytes: 1, sha256: hash }], last_used: 0 };
      await store.putModel({ ...record, state: "partial" });
      await store.put(hash, new Uint8Array(1));
      await store.putModel({ ...record, state: "ready" });
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (!(await store.hashes()).has(hash)) lost++;
      await store.deleteModel(url);
    }
    console.log(JSON.stringify(lost));`;
  const other = `
    const { openStore } = await import(${store});
    const store = await openStore();
    // The more there are, the longer they take to read.
    for (let round = 0; ; round++) await store.putModel({ url: "b" + (round % 40), state: "ready", name: "b", manifest: "", files: [], last_used: 0 });`;
  const others = await Promise.all([1, 2].map(() => startProgram(other, { cache })));
  const lost = await runProgram(loading, { cache }).finally(() => Promise.all(others.map((program) => program.kill())));
  assert.equal(lost, 0);
});

test("no more than 64 MiB have come and are not stored, in however large pieces they come", async () => {
  const source = `
    const { Loader } = await import(${JSON.stringify(new URL("../../www/build/node/weights/loader.js", import.meta.url).href)});
    const [MIB, bytes] = [2 ** 20, 16 * 2 ** 20];
    const file = (index) => ({ file: "chunks/" + index, bytes, sha256: String(index).padStart(64, "0") });
    const tokenizer = { ...file(9), file: "tokenizer.json" };
    const chunks = Array.from({ length: 8 }, (_, index) => file(index));
    const manifest = { format: "llava-web", version: 1, model: { name: "large" }, quantization: "q8", tokenizer, tensors: [], chunks, total_bytes: 9 * bytes };
    let come = 0;
    // All of a chunk but its last MiB, without which it is not stored.
    const chunk = () => {
      let left = bytes / MIB - 1;
      return new ReadableStream({
        pull: async (stream) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          if (left === 0) return new Promise(() => {});
          const piece = Math.min(left, 2);
          left -= piece;
          come += piece;
          stream.enqueue(new Uint8Array(piece * MIB));
        },
      }, { highWaterMark: 0 });
    };
    globalThis.fetch = async (url) => new Response(String(url).endsWith("manifest.json") ? JSON.stringify(manifest) : chunk());
    const options = { signal: new AbortController().signal, onProgress: () => {}, onWarning: () => {} };
    const loader = await Loader.open({ kind: "bundle", key: "large", folder: "http://large/" }, options);
    loader.chunk(0).catch(() => undefined);
    for (let before = -1; before !== come || come === 0; await new Promise((resolve) => setTimeout(resolve, 500))) before = come;
    console.log(JSON.stringify(come));
    process.exit();`;
  const come = await runProgram(source, { cache });
  assert.ok(come > 32 && come <= 64, `${come} MiB`);
});

test("a full disk is an error of its own, and leaves nothing half-written", async () => {
  const source = `
    import fs from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    const { writeFile } = fs.promises;
    fs.promises.writeFile = async (path, bytes) => {
      await writeFile(path, bytes.slice(0, 3));
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    };
    syncBuiltinESMExports();
    const { openStore } = await import(${JSON.stringify(new URL("../../www/build/node/weights/store.node.js", import.meta.url).href)});
    const store = await openStore();
    const error = await store.put("a".repeat(64), new Uint8Array(10)).catch(({ code, message }) => ({ code, message }));
    console.log(JSON.stringify({ error, hashes: [...(await store.hashes())], usage: await store.usage() }));`;
  const { error, hashes, usage } = await runProgram(source, { cache });
  assert.equal(error.code, "quota_exceeded");
  assert.ok(error.message.includes(cache));
  assert.deepEqual([hashes, usage], [[], 0]);
});
