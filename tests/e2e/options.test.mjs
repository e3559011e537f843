// Wrong options and arguments of every call: a typed error that names what is wrong, and nothing is fetched for it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eachWithFreshPage, makeBundle } from "./support.mjs";

let server, page;
eachWithFreshPage(makeBundle(), (given) => ({ server, page } = given));

/** The error of each call, as `code: message`. `calls` runs in the page and returns functions. */
async function errors(calls) {
  const told = await page.evaluate(
    async ([calls, url]) => {
      const image = new Uint8Array([137, 80, 78, 71, 1, 2, 3]);
      const list = (0, eval)(`(${calls})`)({ llava: globalThis.llava, url, image });
      const outcomes = await Promise.all(list.map(globalThis.attempt));
      return outcomes.map(({ error, value }) => (error ? `${error.code}: ${error.message}` : `no error but ${value}`));
    },
    [String(calls), `${server.origin}/m/`],
  );
  assert.deepEqual(server.requests, []);
  return told;
}

function assertEach(told, patterns) {
  assert.equal(told.length, patterns.length);
  patterns.forEach((pattern, index) => assert.match(told[index], pattern));
}

test("options that are no object", async () => {
  const told = await errors(({ llava, url, image }) => [
    () => llava.caption(image, "x", null),
    () => llava.caption(image, "x", "fast"),
    () => llava.load(url, null),
    () => llava.load(url, [1]),
    () => llava.availability(url, null),
    () => llava.createAI({ m: url }).run("m", { image, prompt: "x" }, null),
    async () => llava.createAI(null),
    async () => llava.createAI({ m: url }, 3),
    async () => llava.configure(null),
    async () => llava.configure(5),
  ]);
  for (const error of told) assert.match(error, /^invalid_input: .*object/);
});

test("a controller for a signal, and other things that are none", async () => {
  const told = await errors(({ llava, url, image }) => [
    () => llava.caption(image, "x", { model: url, signal: new AbortController() }),
    () => llava.load(url, { signal: new AbortController() }),
    () => llava.load(url, { signal: 5000 }),
    () => llava.availability(url, { signal: null }),
    () => llava.createAI({ m: url }).run("m", { image, prompt: "x" }, { signal: {} }),
  ]);
  assertEach(told, [
    /^invalid_input: `signal`.*AbortController: give its `signal`/,
    /^invalid_input: `signal`.*AbortController/,
    /^invalid_input: `signal` must be an AbortSignal.*5000/,
    /^invalid_input: `signal` must be an AbortSignal.*null/,
    /^invalid_input: `signal` must be an AbortSignal/,
  ]);
});

test("options that throw, options that are arguments, and signals of another frame", async () => {
  const told = await errors(({ llava, url, image }) => {
    const frame = document.body.appendChild(document.createElement("iframe"));
    const throwing = { get signal() { throw new Error("mine"); } };
    return [
      () => llava.load(url, throwing),
      () => llava.caption(image, "x", { model: url, prompt: "y" }),
      () => llava.caption(image, "x", { model: url, image }),
      () => llava.caption(image, "x", { model: url, signal: frame.contentWindow.AbortSignal.abort() }),
      () => llava.load(undefined, { worker: () => { throw new Error("mine"); } }),
    ];
  });
  assertEach(told, [/^invalid_input: .*throws/, /^invalid_input: `prompt` is an argument/, /^invalid_input: `image` is an argument/, /^aborted: /, /^invalid_input: `worker`.*thrown/]);
});

test("callbacks that are no functions, and options nobody knows", async () => {
  const told = await errors(({ llava, url, image }) => [
    () => llava.caption(image, "x", { model: url, onToken: "log" }),
    () => llava.caption(image, "x", { model: url, onProgress: 1 }),
    () => llava.load(url, { onProgress: {} }),
    () => llava.load(url, { onWarning: true }),
    () => llava.availability(url, { contextLength: 5 }),
    () => llava.createAI({ m: url }).run("m", { image, prompt: "x" }, { onPiece() {} }),
    () => llava.caption(image, "x", { model: url, precison: "fast" }),
    () => llava.caption(image, "x", { model: url, precision: "slow" }),
    () => llava.caption(image, "x", { model: url, prompt: "y" }),
  ]);
  assertEach(told, [
    /^invalid_input: `onToken` must be a function/,
    /^invalid_input: `onProgress` must be a function/,
    /^invalid_input: `onProgress` must be a function/,
    /^invalid_input: `onWarning` must be a function/,
    /^invalid_input: `contextLength` is not an option of availability. Known: device, context_length/,
    /^invalid_input: `onPiece` is not an option of run/,
    /^invalid_input: `precison` is not an option of caption. Known: messages, max_tokens,.* stop, model, device, precision, onProgress, signal, onToken/,
    /^invalid_input: `precision` must be "exact", "half" or "fast"/,
    /^invalid_input: `prompt` is an argument of its own/,
  ]);
});

test("what cannot name a model", async () => {
  const told = await errors(({ llava, image }) => [
    () => llava.load(5),
    () => llava.load(null),
    () => llava.load({ url: "m" }),
    () => llava.caption(image, "x", { model: 7 }),
    () => llava.models.delete(["m"]),
    () => llava.load(""),
    () => llava.load("javascript:1"),
    () => llava.load("data:,x"),
    () => llava.load("llava-web:other"),
    () => llava.availability("mailto:a@b"),
  ]);
  for (const error of told) assert.match(error, /^invalid_input: .*(URL|address)/);
  assert.match(told[0], /but this is 5\./);
});

test("a model's name on the Hub is told from a folder that is missing", async () => {
  const messages = await page.evaluate(async () => {
    const names = ["llava-hf/llava-1.5-7b-hf", "@cf/llava-hf/llava-1.5-7b-hf", "/models/other/"];
    const outcomes = await Promise.all(names.map((name) => globalThis.attempt(() => globalThis.llava.load(name))));
    return outcomes.map(({ error }) => `${error.code}: ${error.message}`);
  });
  assert.match(messages[0], /^no_such_model: .*404.*Hub.*llava-convert/);
  assert.match(messages[1], /^no_such_model: .*Hub.*llava-convert/);
  assert.doesNotMatch(messages[2], /Hub/);
});

test("configure says which option is wrong, and changes nothing then", async () => {
  const told = await errors(({ llava }) => [
    async () => llava.configure({ worker: 5 }),
    async () => llava.configure({ wasm: {} }),
    async () => llava.configure({ wasm: { gpu: "engine.wasm", tpu: "x" } }),
    async () => llava.configure({ wasm: { cpu: 5 } }),
    async () => llava.configure({ model: "" }),
    async () => llava.configure({ engine: {} }),
    async () => llava.configure({ idle_timeout: -1 }),
    async () => llava.configure({ wasm_url: "x" }),
  ]);
  assertEach(told, [/`worker`.*worker\.js/, /`wasm`.*engine\.wasm/, /`wasm`.*gpu, cpu/, /`wasm`.*gpu, cpu/, /`model`.*dist\/llava-web\/model/, /`engine`.*llava-web\/engine/, /`idle_timeout`/, /`wasm_url` is not an option of configure/]);
  const { error } = await page.evaluate((url) => globalThis.attempt(() => globalThis.llava.load(url).then(() => "loaded")), `${server.origin}/m/`);
  assert.equal(error, undefined);
});

test("a bad picture is refused before a load", async () => {
  const told = await errors(({ llava, url }) => [
    () => llava.caption(null, "x", { model: url }),
    () => llava.caption(undefined, "x", { model: url }),
    () => llava.caption(new Uint8Array(), "x", { model: url }),
    () => llava.caption({}, "x", { model: url }),
    () => llava.createAI({ m: url }).run("m", { image: [], prompt: "x" }),
  ]);
  assertEach(told, [/^(bad_image|missing_input): /, /^missing_input: /, /^bad_image: /, /^bad_image: /, /^bad_image: /]);
});
