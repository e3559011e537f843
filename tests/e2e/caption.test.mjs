// The whole way, every part real: a picture goes in through the built package and a true description comes out.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { drawRedCircle, load, openBrowser, readBundle, ROOT, serveBundles, servePackage } from "./support.mjs";

const QUESTION = "What is in this picture?";

let browser, site, page;
/** The bytes of a PNG file, a red circle on light grey. */
let picture;
before(async () => {
  browser = await openBrowser();
  site = await servePackage();
  page = await browser.open(site);
  const { error, value, progress } = await load(page);
  assert.equal(error, undefined);
  assert.equal(progress.at(-1).phase, "compile");
  page.imageTokens = value.image_tokens;
  picture = await page.evaluate(drawRedCircle);
});
after(async () => {
  await browser.close();
  await site.close();
});

/** Runs `work({ llava, model, attempt, bytes, drawing, question })` in the page. */
function inPage(work) {
  return page.evaluate(`(${work})({ llava, model: globalThis.model, attempt, bytes, drawing, question: ${JSON.stringify(QUESTION)} })`);
}

test("a picture that is cut off costs no weights", async () => {
  const fresh = await openBrowser();
  try {
    const page = await fresh.open(site);
    site.requests = [];
    const half = picture.slice(0, picture.length / 2);
    const { error } = await page.evaluate((half) => globalThis.attempt(() => globalThis.llava.caption(half)), half);
    assert.equal(error?.code, "bad_image");
    assert.ok(site.requests.some((path) => path.endsWith("engine-cpu.wasm")));
    assert.deepEqual(site.requests.filter((path) => path.endsWith(".bin")), []);
  } finally {
    await fresh.close();
  }
});

describe("in the page", () => {
  test("a file is described truly, and questions about it are answered", async () => {
    const answers = await inPage(async ({ model, bytes, question }) => {
      const file = new File([bytes], "circle.png");
      return [await model.caption(file, question), await model.caption(file, "What colour is the circle?"), await model.caption(file)];
    });
    assert.match(answers[0], /red circle/);
    assert.match(answers[1], /red/);
    assert.equal(answers[2], answers[0], "the default question");
  });

  test("held-out pictures are answered as by the native build", async () => {
    const held = join(ROOT, "tests/held-out");
    const cases = (await readFile(join(held, "cases.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
    // What is said of photographs there is what the model of drawings says.
    const slice = cases.filter(({ set }, index) => set !== "photographs" && index % 4 === 0);
    const inputs = await Promise.all(slice.map(async ({ image, prompt }) => ({ image: [...(await readFile(join(held, image)))], prompt })));
    const answers = await page.evaluate(async (inputs) => {
      const answers = [];
      for (const { image, prompt } of inputs) answers.push(await globalThis.model.caption(new Uint8Array(image), prompt, { max_tokens: 40 }));
      return answers;
    }, inputs);
    const others = slice.flatMap(({ image, said }, index) => (said === answers[index] ? [] : [`${image}: ${answers[index]}, not ${said}`]));
    // Where two answers are nearly as likely, an adapter's rounding decides.
    assert.ok(others.length <= 1, others.join("\n"));
  });

  test("the answer has usage, tokens and timings", async () => {
    const result = await inPage(({ model, bytes, question }) => model.run({ image: bytes, prompt: question }));
    assert.ok(result.usage.prompt_tokens > 10);
    assert.equal(result.usage.completion_tokens, result.token_ids.length);
    assert.equal(result.finish_reason, "stop");
    for (const field of ["load", "image", "prefill", "decode", "tokens_per_second"]) assert.ok(result.timings[field] >= 0, field);
    assert.ok(result.adapter && result.model);
  });

  test("a stream's pieces make up the answer", async () => {
    const { pieces, whole } = await inPage(async ({ model, bytes, question }) => {
      const pieces = [];
      for await (const piece of model.stream(bytes, question)) pieces.push(piece);
      return { pieces, whole: await model.caption(bytes, question) };
    });
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(""), whole);
  });

  test("a file, its pixels and a canvas give the same tokens", async () => {
    const [file, pixels, canvas] = await inPage(async ({ model, bytes, drawing, question }) => {
      const { width, height } = drawing;
      const pixels = drawing.getContext("2d").getImageData(0, 0, width, height);
      const answers = [];
      for (const image of [bytes, pixels, drawing]) answers.push((await model.run({ image, prompt: question })).token_ids);
      return answers;
    });
    assert.deepEqual(pixels, file);
    assert.deepEqual(canvas, file);
  });

  test("a raw prompt takes LLaVA's form as it stands", async () => {
    const [plain, raw, wrong] = await inPage(async ({ model, attempt, bytes, question }) => [
      await model.caption(bytes, question),
      await model.caption(bytes, `USER: <image>\n${question} ASSISTANT:`, { raw: true }),
      await attempt(() => model.caption(bytes, question, { raw: true })),
    ]);
    assert.equal(raw, plain);
    assert.equal(wrong.error.code, "invalid_input");
    assert.match(wrong.error.message, /<image>/);
  });

  test("max_tokens and stop end the answer", async () => {
    const [short, stopped] = await inPage(async ({ model, bytes, question }) => [
      await model.run({ image: bytes, prompt: question, max_tokens: 2 }),
      await model.run({ image: bytes, prompt: question, stop: "circle" }),
    ]);
    assert.equal(short.token_ids.length, 2);
    assert.equal(short.finish_reason, "length");
    assert.match(stopped.description, /red/);
    assert.doesNotMatch(stopped.description, /circle/);
    assert.equal(stopped.finish_reason, "stop");
  });

  test("the same seed gives the same text", async () => {
    const [first, second] = await inPage(async ({ model, bytes, question }) => {
      const input = { image: bytes, prompt: question, temperature: 2, top_p: 0.95, top_k: 40, seed: 7, repetition_penalty: 1.1, max_tokens: 12 };
      return [await model.run(input), await model.run(input)];
    });
    assert.deepEqual(first.token_ids, second.token_ids);
  });

  test("abort before and in the answer rejects with code aborted, and the next call works", async () => {
    const [before, early, late, next] = await inPage(async ({ model, attempt, bytes, question }) => {
      const stop = new AbortController();
      // A picture that is not known yet: what is takes less time than the timer.
      const early = attempt(() => model.caption(new ImageData(2000, 2000), question, { signal: stop.signal }));
      setTimeout(() => stop.abort(), 1);
      const inAnswer = new AbortController();
      return [
        await attempt(() => model.caption(bytes, question, { signal: AbortSignal.abort() })),
        await early,
        await attempt(() => model.caption(bytes, question, { signal: inAnswer.signal, onToken: () => inAnswer.abort() })),
        await model.caption(bytes, question),
      ];
    });
    for (const { error } of [before, early, late]) assert.deepEqual([error?.code, error?.hosted_code], ["aborted", 3008]);
    assert.match(next, /red circle/);
  });

  test("what is no picture is a typed error", async () => {
    const { error } = await inPage(({ model, attempt }) => attempt(() => model.caption(new Uint8Array([1, 2, 3, 4]))));
    assert.deepEqual([error.code, error.hosted_code], ["bad_image", 5004]);
  });

  test("a text without a picture runs with raw", async () => {
    const { completion_tokens } = (await inPage(({ model }) => model.run({ raw: true, prompt: "USER: hello ASSISTANT:", max_tokens: 3 }))).usage;
    assert.ok(completion_tokens >= 1);
  });

  test("a second question on the same picture reuses it, and is answered as by a fresh model", async () => {
    const { fresh, first, second, again } = await inPage(async ({ llava, model, bytes, question }) => {
      const ask = (model, prompt) => model.run({ image: bytes, prompt });
      const other = await llava.load(llava.DEFAULT_MODEL);
      const fresh = await ask(other, "What colour is the circle?");
      // Nothing but the first token is in common, so that the picture runs again.
      await other.run({ raw: true, prompt: "hello", max_tokens: 1 });
      await other.run({ image: new ImageData(8, 8), max_tokens: 1 });
      const first = await ask(other, question);
      const second = await ask(other, "What colour is the circle?");
      other.dispose();
      await ask(model, question);
      return { fresh, first, second, again: await ask(model, "What colour is the circle?") };
    });
    assert.equal(fresh.usage.cached_tokens, 0, "the warm-up leaves nothing behind");
    for (const answer of [second, again]) {
      assert.deepEqual(answer.token_ids, fresh.token_ids);
      assert.ok(answer.usage.cached_tokens > page.imageTokens, `${answer.usage.cached_tokens} of ${page.imageTokens}`);
    }
    const wait = ({ timings }) => timings.image + timings.prefill;
    console.log(`first token after ${wait(first).toFixed(0)} ms, the second question's after ${wait(second).toFixed(0)} ms: ${(wait(first) / wait(second)).toFixed(1)} times sooner`);
    assert.ok(wait(second) < wait(first));
  });

  test("a second load with the server stopped answers the same", async () => {
    const server = await serveBundles({ shapes: await readBundle(join(ROOT, "models/llava-sketches")) });
    const url = `${server.origin}/shapes/`;
    assert.equal((await load(page, url)).error, undefined);
    await server.close();
    const { error, progress } = await load(page, url);
    assert.equal(error, undefined);
    assert.equal(progress.at(-1).from_cache, progress.at(-1).total);
    assert.match(await inPage(({ model, bytes, question }) => model.caption(bytes, question)), /red circle/);
  });
});
