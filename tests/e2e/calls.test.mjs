// Calls and the worker behind them: every call settles, whatever happens. The engine is a fake one with long answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { load, makeBundle, openBrowser, serveBundles, servePackage } from "./support.mjs";

let browser, site, server;
/** A PNG of 2x1 pixels, in base64. */
const image = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEElEQVR42mP4z8DwH4gaABMBA/+0RRB5AAAAAElFTkSuQmCC";
before(async () => {
  browser = await openBrowser();
  site = await servePackage({ fake: true });
  server = await serveBundles({ m: makeBundle(), other: makeBundle({ name: "other" }) });
});
after(async () => {
  await browser.close();
  await site.close();
  await server.close();
});

const url = () => `${server.origin}/m/`;
/** Runs `work({ llava, model, attempt, url, image })` in a page with a loaded model. */
async function inPage(work, { loaded = true } = {}) {
  const page = await browser.open(site);
  try {
    if (loaded) assert.equal((await load(page, url())).error, undefined);
    return await page.evaluate(`(${work})({ llava, model: globalThis.model, attempt, url: ${JSON.stringify(url())}, image: ${JSON.stringify(image)} })`);
  } finally {
    await page.close();
  }
}

test("caption, stream, onToken and run give the same answer", async () => {
  const { text, pieces, told, result, fromStream } = await inPage(async ({ model, image }) => {
    const told = [];
    const text = await model.caption(image, "words=3", { onToken: (piece, tokens) => told.push([piece, tokens]) });
    const stream = model.stream(image, "words=3");
    const pieces = [];
    for await (const piece of stream) pieces.push(piece);
    return { text, told, pieces, fromStream: await stream.result, result: await model.run({ image, prompt: "words=3" }) };
  });
  assert.equal(text, "word0 word1 word2 ");
  assert.deepEqual(pieces, ["word0 ", "word1 ", "word2 "]);
  assert.deepEqual(told, [["word0 ", 1], ["word1 ", 2], ["word2 ", 3]]);
  assert.equal(fromStream.description, text);
  const { timings, seed, ...rest } = result;
  assert.deepEqual(rest, {
    description: text,
    usage: { prompt_tokens: 7, cached_tokens: 5, completion_tokens: 3, total_tokens: 10 },
    finish_reason: "stop",
    token_ids: [0, 1, 2],
    token_logprobs: [-0.5, -0.5, -0.5],
    model: "fake",
    adapter: "fake",
  });
  assert.ok(timings.load > 0);
  assert.ok(Number.isSafeInteger(seed) && seed >= 0);
});

test("the engine gets every field, with the hosted model's defaults", async () => {
  const echoed = await inPage(({ model, image }) => model.caption(image, "echo", { temperature: 0.5, seed: 3, stop: "x" }));
  assert.deepEqual(JSON.parse(echoed).input, { prompt: "echo", max_tokens: 512, temperature: 0.5, seed: 3, stop: ["x"] });
});

test("abort in mid-answer rejects at once, and the next call works", async () => {
  const { outcome, next, waited } = await inPage(async ({ model, attempt, image }) => {
    const stop = new AbortController();
    let firedAt = 0;
    const onToken = (_, tokens) => {
      if (tokens === 3) {
        firedAt = performance.now();
        stop.abort();
      }
    };
    const outcome = await attempt(() => model.caption(image, "words=1000 pause=20", { signal: stop.signal, onToken }));
    const waited = performance.now() - firedAt;
    return { outcome, waited, next: await model.caption(image, "words=1") };
  });
  assert.deepEqual([outcome.error.code, outcome.error.name], ["aborted", "AbortError"]);
  assert.ok(waited < 2000, `${waited} ms, and the answer would have taken 20 s`);
  assert.equal(next, "word0 ");
});

test("a callback that throws ends its call with an error that says which, and no other call", async () => {
  const { failed, answers, uncaught } = await inPage(
    async ({ llava, attempt, url, image }) => {
      let uncaught = 0;
      for (const event of ["error", "unhandledrejection"]) addEventListener(event, () => uncaught++);
      const fail = () => {
        throw new TypeError("no such element");
      };
      const failed = { onProgress: await attempt(() => llava.load(url, { onProgress: fail })) };
      const ask = (options) => attempt(() => llava.caption(image, "words=2", { model: url, ...options }));
      const [mine, other] = await Promise.all([ask({ onProgress: fail }), ask({})]);
      failed.shared = mine;
      const model = await llava.load(url);
      const slow = "words=1000 pause=20";
      failed.onToken = await attempt(() => model.caption(image, slow, { onToken: fail }));
      failed.stream = await attempt(() => model.stream(image, slow, { onToken: fail }).result);
      return { failed, answers: [other.value, await model.caption(image, "words=3")], uncaught };
    },
    { loaded: false },
  );
  for (const [call, { error }] of Object.entries(failed)) {
    assert.equal(error?.code, "invalid_input", call);
    assert.match(error.message, /^`on(Progress|Token)` has thrown an error.*no such element/, call);
    assert.equal(error.llava, true);
  }
  assert.deepEqual(answers, ["word0 word1 ", "word0 word1 word2 "]);
  assert.equal(uncaught, 0);
});

test("an onWarning that throws makes its warnings errors", async () => {
  site.prelude = 'indexedDB.open = () => { throw new Error("none") };';
  const page = await browser.open(site);
  const load = (strict) =>
    page.evaluate(
      ([url, strict]) => {
        const onWarning = (warning) => {
          if (strict) throw warning;
        };
        return globalThis.attempt(async () => (await globalThis.llava.load(url, { onWarning })).info.model);
      },
      [url(), strict],
    );
  const [strict, lenient] = [await load(true), await load(false)];
  site.prelude = "";
  await page.close();
  assert.equal(strict.error?.code, "invalid_input");
  assert.match(strict.error.message, /^`onWarning` has thrown.*no storage/);
  assert.equal(lenient.value, "fake");
});

test("leaving a stream's loop stops the model; an abort ends the loop with an error", async () => {
  const { pieces, next, outcome, result } = await inPage(async ({ model, attempt, image }) => {
    const pieces = [];
    const stream = model.stream(image, "words=1000 pause=20");
    for await (const piece of stream) if (pieces.push(piece) === 2) break;
    const result = await attempt(() => stream.result);
    const next = await model.caption(image, "words=1");
    const outcome = await attempt(async () => {
      const stop = new AbortController();
      for await (const _ of model.stream(image, "words=1000 pause=20", { signal: stop.signal })) stop.abort();
    });
    return { pieces, next, outcome, result };
  });
  assert.equal(pieces.length, 2);
  assert.equal(result.error.code, "aborted");
  assert.equal(next, "word0 ");
  assert.equal(outcome.error.code, "aborted");
});

test("calls that wait for one another are answered in turn, and one of them may be aborted", async () => {
  const outcomes = await inPage(async ({ model, attempt, image }) => {
    const stop = new AbortController();
    const calls = [1, 2, 3].map((words) =>
      attempt(() => model.caption(image, `words=${words} pause=30`, words === 2 ? { signal: stop.signal } : {})),
    );
    stop.abort();
    return Promise.all(calls);
  });
  assert.deepEqual(outcomes.map(({ value, error }) => value ?? error.code), ["word0 ", "aborted", "word0 word1 word2 "]);
});

test("an error of the engine keeps its code and leaves the model usable", async () => {
  const [failed, next] = await inPage(async ({ model, attempt, image }) => [
    await attempt(() => model.caption(image, "fail")),
    await model.caption(image, "words=1"),
  ]);
  assert.deepEqual([failed.error.code, failed.error.hosted_code, failed.error.llava], ["bad_image", 5004, true]);
  assert.equal(next, "word0 ");
});

test("a panic rejects every call under way, and says to load again", async () => {
  const [first, second, later, ended] = await inPage(async ({ model, attempt, image }) => {
    const both = await Promise.all([attempt(() => model.caption(image, "panic")), attempt(() => model.caption(image, "words=1"))]);
    return [...both, await attempt(() => model.caption(image)), model.ended];
  });
  for (const { error } of [first, second, later]) {
    assert.equal(error.code, "engine_failed");
    assert.match(error.message, /Load the model again/);
  }
  assert.equal(ended, true);
});

test("dispose rejects what is under way and what comes later", async () => {
  const outcomes = await inPage(async ({ model, attempt, image }) => {
    const running = attempt(() => model.caption(image, "words=1000 pause=20"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await model[Symbol.asyncDispose]();
    model.dispose();
    return [await running, await attempt(() => model.caption(image))];
  });
  assert.deepEqual(outcomes.map(({ error }) => error.code), ["disposed", "disposed"]);
});

test("validation and pictures fail before the engine is asked", async () => {
  const codes = await inPage(async ({ model, attempt, image }) => {
    const outcomes = [
      await attempt(() => model.run({ prompt: "hi" })),
      await attempt(() => model.caption(image, "hi", { tempreature: 1 })),
      await attempt(() => model.caption([])),
    ];
    return outcomes.map(({ error }) => [error.code, error.hosted_code]);
  });
  assert.deepEqual(codes, [["missing_input", 3003], ["invalid_input", undefined], ["bad_image", 5004]]);
});

test("createAI answers by name, loads once, and knows what it does not know", async () => {
  const { texts, unknown, loads } = await inPage(
    async ({ llava, attempt, url, image }) => {
      let loads = 0;
      const onProgress = ({ phase }) => (loads += phase === "start");
      const ai = llava.createAI({ "@cf/llava-hf/llava-1.5-7b-hf": url });
      const run = (input) => ai.run("@cf/llava-hf/llava-1.5-7b-hf", input, { onProgress });
      const answers = await Promise.all([run({ image, prompt: "words=1" }), run({ image, prompt: "words=2", max_tokens: 512 })]);
      answers.push(await run("\x89PNG as a binary string"));
      const unknown = await attempt(() => ai.run("other", { image }));
      ai.dispose();
      return { texts: answers.map(({ description }) => description), unknown, loads };
    },
    { loaded: false },
  );
  assert.deepEqual(texts, ["word0 ", "word0 word1 ", "word0 "]);
  assert.deepEqual([unknown.error.code, unknown.error.hosted_code], ["no_such_model", 5007]);
  assert.match(unknown.error.message, /@cf\/llava-hf/);
  assert.ok(loads >= 1 && loads <= 2, "one load, heard by those who waited for it");
});

test("caption keeps the model for the next call; a call's abort does not end another's load", async () => {
  const outcomes = await inPage(
    async ({ llava, attempt, url, image }) => {
      const stop = new AbortController();
      const first = attempt(() => llava.caption(image, "words=1", { model: url, signal: stop.signal }));
      const second = attempt(() => llava.caption(image, "words=2", { model: url }));
      stop.abort();
      return [await first, await second, await attempt(() => llava.caption(image, "words=3", { model: url }))];
    },
    { loaded: false },
  );
  assert.deepEqual(outcomes.map(({ value, error }) => value ?? error.code), ["aborted", "word0 word1 ", "word0 word1 word2 "]);
});

test("dispose() frees caption()'s models; the next call loads them again, and one that waits or runs is told", async () => {
  const told = await inPage(
    async ({ llava, attempt, url, image }) => {
      const ask = (prompt, options) => attempt(() => llava.caption(image, prompt, { model: url, ...options }));
      const waiting = await ask("words=1", { onProgress: () => llava.dispose() });
      const running = await ask("words=50 pause=20", { onToken: () => llava.dispose() });
      const early = ask("words=4");
      llava.dispose();
      return [waiting, await ask("words=2"), running, await ask("words=3"), await early].map(({ value, error }) => value ?? error.code);
    },
    { loaded: false },
  );
  assert.deepEqual(told, ["disposed", "word0 word1 ", "disposed", "word0 word1 word2 ", "disposed"]);
});

test("idle_timeout frees a model a time after its last use, not while it answers", async () => {
  const page = await browser.open(site);
  const ask = (prompt) => page.evaluate(([prompt, url, image]) => globalThis.llava.caption(image, prompt, { model: url }), [prompt, url(), image]);
  await page.evaluate(() => globalThis.llava.configure({ idle_timeout: 500 }));
  await ask("words=30 pause=30");
  await ask("words=1");
  const workers = page.workers();
  assert.equal(workers.length, 1, "the second call has used the model of the first");
  await new Promise((resolve) => (workers[0].once("close", resolve), page.workers().length === 0 && resolve()));
  assert.equal(await ask("words=1"), "word0 ");
  await page.evaluate(() => globalThis.llava.configure({ idle_timeout: undefined }));
  await ask("words=1");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(page.workers().length, 1);
  await page.close();
});

test("a picture that the engine cannot read costs no weights, and no other call its model", async () => {
  await browser.forget(site);
  server.requests = [];
  const [alone, together] = await inPage(
    async ({ llava, attempt, url, image }) => {
      const damaged = [...image, 0xee]; // for the fake engine
      const ask = async (picture, prompt) => {
        const { value, error } = await attempt(() => llava.caption(picture, prompt, { model: url }));
        return value ?? error.code;
      };
      const alone = await ask(damaged, "words=1");
      return [alone, await Promise.all([ask(damaged, "words=1"), ask(image, "words=2"), ask(image, "words=3")])];
    },
    { loaded: false },
  );
  assert.equal(alone, "bad_image");
  assert.deepEqual(together, ["bad_image", "word0 word1 ", "word0 word1 word2 "]);
  assert.deepEqual(server.requests.filter((path) => path.includes("/chunks/")).sort(), makeBundle().chunkPaths.map((path) => `m/${path}`).sort());
});

test("a mistake in the input is found before anything is downloaded", async () => {
  server.requests = [];
  const codes = await inPage(
    async ({ llava, attempt, url, image }) => {
      const ai = llava.createAI({ m: url });
      const outcomes = [attempt(() => llava.caption(image, "hi", { model: url, top_p: 3 })), attempt(() => ai.run("m", { prompt: "hi" }))];
      return (await Promise.all(outcomes)).map(({ error }) => error.code);
    },
    { loaded: false },
  );
  assert.deepEqual(codes, ["invalid_input", "missing_input"]);
  assert.deepEqual(server.requests, []);
});

test("options of load are checked", async () => {
  const messages = await inPage(
    async ({ llava, attempt, url }) => {
      const outcomes = [{ context_length: 0 }, { contextLength: 5 }, { kv_cache: "f8" }, { precision: "low" }].map((options) => attempt(() => llava.load(url, options)));
      outcomes.push(attempt(() => llava.load("http://")));
      return (await Promise.all(outcomes)).map(({ error }) => `${error.code}: ${error.message}`);
    },
    { loaded: false },
  );
  assert.match(messages[0], /invalid_input: `context_length`/);
  assert.match(messages[1], /invalid_input: `contextLength` is not an option.*context_length/);
  assert.match(messages[2], /invalid_input: `kv_cache` must be "f32" or "f16"/);
  assert.match(messages[3], /invalid_input: `precision` must be "exact", "half" or "fast"/);
  assert.match(messages[4], /invalid_input: .*URL/);
});

const WITHOUT = {
  "navigator.gpu": ['Object.defineProperty(navigator, "gpu", { value: undefined });', "webgpu_unavailable", /https|Chrome/],
  "an adapter": ["GPU.prototype.requestAdapter = async () => null;", "webgpu_unavailable", /driver/],
  "a secure context": ['Object.defineProperty(self, "isSecureContext", { value: false });', "insecure_context", /https/],
};
for (const [what, [prelude, code, message]] of Object.entries(WITHOUT)) {
  test(`without ${what}: ${code}, and nothing is downloaded`, async () => {
    site.prelude = prelude;
    const page = await browser.open(site);
    server.requests = [];
    const { error } = await load(page, url());
    site.prelude = "";
    await page.close();
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.deepEqual(server.requests, []);
  });
}

test("a worker that does not start is a typed error", async () => {
  site.prelude = "throw new Error('broken');";
  const page = await browser.open(site);
  const { error } = await load(page, url());
  site.prelude = "";
  await page.close();
  assert.equal(error.code, "engine_failed");
});
