// Answers that survive a lost GPU: the browser's GPU process is killed in mid-answer, and nobody who reads the answer notices. The
// engine is a fake one with long answers; gpu-loss.test.mjs has the real one.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { CRASHING, crashGpu, FAKE_WASM, load, makeBundle, openBrowser, serveBundles, servePackage } from "./support.mjs";

let browser, site, server, page;
before(async () => {
  site = await servePackage({ fake: true });
});
after(() => site.close());
beforeEach(async () => {
  browser = await openBrowser(CRASHING);
  site.overrides = {};
  server = await serveBundles({ m: makeBundle(), other: makeBundle({ name: "other", seeds: [7, 8] }) });
  page = await browser.open(site);
  await page.exposeFunction("crashGpu", () => crashGpu(browser, page));
  await page.evaluate((url) => {
    const url_of_model = url;
    globalThis.url = url_of_model;
    globalThis.image = new Uint8Array([0x89, 0x50, 0x4e, 0x47]);
    globalThis.warnings = [];
    globalThis.loadModel = async (options) => {
      const onWarning = ({ code, message }) => globalThis.warnings.push(`${code}: ${message}`);
      return (globalThis.model = await globalThis.llava.load(url_of_model, { onWarning, ...options }));
    };
    /** An answer to `prompt`, with all that is told on the way; the GPU is lost when the token `at` comes, `times` in all. */
    globalThis.ask = async (prompt, { at = 3, times = 1, ...options } = {}) => {
      const told = [];
      let left = times;
      const onToken = (piece, tokens) => {
        told.push([piece, tokens]);
        if (left > 0 && tokens >= at && left-- > 0) {
          at = tokens + 2;
          void globalThis.crashGpu();
        }
      };
      const outcome = await globalThis.attempt(() => globalThis.model.run({ image: globalThis.image, prompt, ...options.input }, { onToken, signal: options.signal }));
      return { ...outcome, told };
    };
  }, `${server.origin}/m/`);
});
afterEach(async () => {
  await browser.close();
  await server.close();
});

/** Runs `work` in the page, where the model is loaded and stored. */
async function inPage(work, options) {
  await page.evaluate((options) => globalThis.loadModel(options), options);
  server.requests = [];
  return page.evaluate(work);
}

/** From now on the engine's wasm takes `ms` to come. */
function slowWasm(ms) {
  site.overrides["/dist/llava-web/engine.wasm"] = (response) =>
    setTimeout(() => response.writeHead(200, { "content-type": "application/wasm" }).end(FAKE_WASM), ms);
}

const words = (count, mark = "") => Array.from({ length: count }, (_, index) => `word${index}${mark} `);

/** Every piece was told once, in order. */
function assertTold({ told, value }, count, mark) {
  assert.deepEqual(told, words(count, mark).map((word, index) => [word, index + 1]));
  assert.equal(value.description, words(count, mark).join(""));
  assert.equal(value.usage.completion_tokens, count);
}

test("lost once: the answer goes on where it stood, from the store, and a warning tells it", async () => {
  const { answer, ended, warnings } = await inPage(async () => {
    const answer = await globalThis.ask("words=12 pause=100");
    return { answer, ended: globalThis.model.ended, warnings: globalThis.warnings };
  });
  assert.equal(answer.error, undefined, answer.error?.message);
  assertTold(answer, 12);
  assert.equal(ended, false);
  assert.equal(warnings.length, 1, warnings.join("\n"));
  assert.match(warnings[0], /^gpu: The GPU was lost .*loaded again/);
  assert.deepEqual(server.requests, []);
});

test("lost twice, and a seed that nobody gave: the words are still of one seed, which the answer tells", async () => {
  const { answer, again, warnings } = await inPage(async () => {
    const answer = await globalThis.ask("words=14 pause=100 drawn", { times: 2 });
    const again = await globalThis.ask("words=14 drawn", { times: 0, input: { seed: answer.value?.seed } });
    return { answer, again, warnings: globalThis.warnings };
  });
  assert.equal(answer.error, undefined, answer.error?.message);
  assertTold(answer, 14, `:${answer.value.seed}`);
  assert.equal(again.value.description, answer.value.description);
  assert.equal(warnings.length, 2, warnings.join("\n"));
});

test("lost three times: gpu, what was told was told once, and the next question is answered", async () => {
  const { answer, next, ended } = await inPage(async () => {
    const answer = await globalThis.ask("words=30 pause=100", { times: 3 });
    return { answer, ended: globalThis.model.ended, next: await globalThis.ask("words=2", { times: 0 }) };
  });
  assert.equal(answer.error?.code, "gpu");
  assert.match(answer.error.message, /lost 3 times/);
  assert.deepEqual(answer.told, words(answer.told.length).map((word, index) => [word, index + 1]));
  assert.equal(ended, false);
  assertTold(next, 2);
});

test("questions that wait behind the interrupted one are answered after it; an idle loss is not noticed", async () => {
  const { answers, order, idle, warnings } = await inPage(async () => {
    const order = [];
    const note = (name) => (outcome) => (order.push(name), outcome);
    const answers = await Promise.all([
      globalThis.ask("words=9 pause=100").then(note("first")),
      globalThis.ask("words=3", { times: 0 }).then(note("second")),
      globalThis.ask("words=2", { times: 0 }).then(note("third")),
    ]);
    await globalThis.crashGpu();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return { answers, order, idle: await globalThis.ask("words=4", { times: 0 }), warnings: globalThis.warnings };
  });
  [9, 3, 2].forEach((count, index) => assertTold(answers[index], count));
  assert.deepEqual(order, ["first", "second", "third"]);
  assertTold(idle, 4);
  assert.equal(warnings.length, 2, warnings.join("\n"));
});

test("an abort while the model is loaded again settles at once; so does dispose", async () => {
  await page.evaluate(() => globalThis.loadModel());
  slowWasm(4000);
  const { outcome, waited, next, told } = await page.evaluate(async () => {
    const stop = new AbortController();
    let stoppedAt;
    const asked = globalThis.ask("words=50 pause=100", { signal: stop.signal });
    while (globalThis.warnings.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 200));
    stoppedAt = performance.now();
    stop.abort("enough");
    const { error, told } = await asked;
    const waited = performance.now() - stoppedAt;
    return { outcome: error, told, waited, next: await globalThis.ask("words=2", { times: 0 }) };
  });
  assert.equal(outcome?.code, "aborted");
  assert.ok(waited < 500, `${waited} ms`);
  assert.deepEqual(told, words(told.length).map((word, index) => [word, index + 1]));
  assertTold(next, 2);
  const disposed = await page.evaluate(async () => {
    globalThis.warnings.length = 0;
    const both = [globalThis.ask("words=50 pause=100"), globalThis.ask("words=1", { times: 0 })];
    while (globalThis.warnings.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const disposedAt = performance.now();
    globalThis.model.dispose();
    const codes = (await Promise.all(both)).map(({ error }) => error?.code);
    return { codes, waited: performance.now() - disposedAt, ended: globalThis.model.ended };
  });
  assert.deepEqual(disposed.codes, ["disposed", "disposed"]);
  assert.ok(disposed.waited < 500, `${disposed.waited} ms`);
  assert.equal(disposed.ended, true);
  const left = () => page.workers().length;
  for (let tries = 0; left() > 0 && tries < 100; tries++) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(left(), 0, "the worker that was on its way must end");
});

test("an answer that would go on otherwise than it began is an error, not a text of two halves", async () => {
  const { answer, next } = await inPage(async () => {
    const answer = await globalThis.ask("words=12 pause=100 moody");
    return { answer, next: await globalThis.ask("words=2", { times: 0 }) };
  });
  assert.equal(answer.error?.code, "gpu", JSON.stringify(answer));
  assert.match(answer.error.message, /not the one that was told/);
  assert.equal(new Set(answer.told.map(([piece]) => piece.split(":")[1])).size, 1, "nothing of the second answer was told");
  assertTold(next, 2);
});

test("what the engine refuses under the same code is no loss: nothing is loaded again", async () => {
  const { answer, next, warnings } = await inPage(async () => {
    const answer = await globalThis.ask("nan");
    return { answer, next: await globalThis.ask("words=2", { times: 0 }), warnings: globalThis.warnings };
  });
  assert.equal(answer.error?.code, "gpu");
  assert.match(answer.error.message, /no number/);
  assert.deepEqual(warnings, []);
  assertTold(next, 2);
});

test("a request for which the GPU has no room fails alone: the one that waits and the next are answered, from the store", async () => {
  const { large, waiting, ended, next, warnings } = await inPage(async () => {
    const ask = (prompt) => globalThis.ask(prompt, { times: 0 });
    const [large, waiting] = await Promise.all([ask("large"), ask("words=3")]);
    return { large, waiting, ended: globalThis.model.ended, next: await ask("words=2"), warnings: globalThis.warnings };
  });
  assert.equal(large.error?.code, "gpu");
  assert.match(large.error.message, /out of memory.*context_length/);
  assertTold(waiting, 3);
  assert.equal(ended, false);
  assertTold(next, 2);
  assert.equal(warnings.length, 1, warnings.join("\n"));
  assert.match(warnings[0], /^gpu: .*out of memory.*loaded again/);
  assert.deepEqual(server.requests, []);
});

test("a model that was deleted from the store meanwhile is fetched again", async () => {
  const answer = await inPage(async () => {
    await globalThis.llava.models.delete(globalThis.url);
    return globalThis.ask("words=9 pause=100");
  });
  assertTold(answer, 9);
  assert.equal(server.takeChunks().length, makeBundle().chunkPaths.length);
});

test("lost again while the model is loaded again: it is loaded a second time", async () => {
  await page.evaluate(() => globalThis.loadModel());
  let reached;
  const held = new Promise((resolve) => (reached = resolve));
  server.fault = (path) => path.includes("/chunks/") && (reached(), true); // and never answer
  const answering = page.evaluate(async () => {
    await globalThis.llava.models.delete(globalThis.url);
    return { answer: await globalThis.ask("words=9 pause=100"), warnings: globalThis.warnings };
  });
  await held;
  server.fault = () => false;
  await crashGpu(browser, page);
  const { answer, warnings } = await answering;
  assert.equal(answer.error, undefined, answer.error?.message);
  assertTold(answer, 9);
  assert.equal(warnings.length, 2, warnings.join("\n"));
});

test("deleted, and its server is gone: gpu with the reason, and the next question works once it is back", async () => {
  await page.evaluate(() => globalThis.loadModel());
  server.fault = (path, request, response) => (response.writeHead(403).end(), true);
  const { answer, warnings } = await page.evaluate(async () => {
    await globalThis.llava.models.delete(globalThis.url);
    return { answer: await globalThis.ask("words=9 pause=100"), warnings: globalThis.warnings };
  });
  assert.equal(answer.error?.code, "gpu");
  assert.match(answer.error.message, /lost.*could not be loaded again.*403/);
  assert.equal(warnings.length, 1);
  server.fault = () => false;
  assertTold(await page.evaluate(() => globalThis.ask("words=2", { times: 0 })), 2);
});

for (const [what, prompt, message] of [["is lost", "words=9 pause=100", /Load the model again/], ["is out of memory", "large", /out of memory/]]) {
  test(`a Worker that the page has made cannot be made again where the GPU ${what}: gpu, and the model has ended`, async () => {
    const { answer, ended } = await page.evaluate(async (prompt) => {
      await globalThis.loadModel({ worker: new Worker("/dist/llava-web/worker.js", { type: "module" }) });
      return { answer: await globalThis.ask(prompt), ended: globalThis.model.ended };
    }, prompt);
    assert.equal(answer.error?.code, "gpu");
    assert.match(answer.error.message, message);
    assert.equal(ended, true);
  });
}

test("stream, caption and createAI go on too, while another model is being loaded, which may be loaded again", async () => {
  await page.evaluate(() => globalThis.loadModel());
  let reached;
  const held = new Promise((resolve) => (reached = resolve));
  server.fault = (path) => path.startsWith("other/chunks/") && (reached(), true); // and never answer
  await page.evaluate(() => {
    const { llava, url, image } = globalThis;
    globalThis.other = globalThis.attempt(() => llava.load(url.replace("/m/", "/other/")));
    globalThis.streamed = (async () => {
      const pieces = [];
      for await (const piece of globalThis.model.stream(image, "words=40 pause=100")) pieces.push(piece);
      return pieces;
    })();
    globalThis.shared = llava.caption(image, "words=40 pause=100", { model: url });
    globalThis.bound = llava.createAI({ m: url }, { onWarning: () => undefined }).run("m", { image, prompt: "words=40 pause=100" });
  });
  await held;
  await new Promise((resolve) => setTimeout(resolve, 1500)); // all of them are answering
  await crashGpu(browser, page);
  const { other, streamed, shared, bound } = await page.evaluate(async () => ({
    other: await globalThis.other,
    streamed: await globalThis.streamed,
    shared: await globalThis.shared,
    bound: await globalThis.bound,
  }));
  assert.equal(other.error?.code, "gpu");
  assert.deepEqual(streamed, words(40));
  assert.equal(shared, words(40).join(""));
  assert.equal(bound.description, words(40).join(""));
  server.fault = () => false;
  assert.equal((await load(page, `${server.origin}/other/`)).error, undefined);
});
