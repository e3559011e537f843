// Every field of the input: what is taken, what is refused, and that the refusal names the field.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { LlavaError } from "../../www/build/basics/errors.js";
import { checkInput } from "../../www/build/input/input.js";

const image = [1];
const turn = { role: "user", content: "hi" };
const LARGEST = 2 ** 31 - 1;
const CUT = "What is this 😀".slice(0, -1);
const WHOLE = "What is this \ufffd";
/** For the names of tests. */
const shown = (value) => inspect(value, { breakLength: Infinity, depth: 5 }).slice(0, 150);

const TAKEN = [
  [{ image }, { max_tokens: 512, stop: [] }],
  [{ image, prompt: "hi" }, { prompt: "hi", max_tokens: 512, stop: [] }],
  [{ image, prompt: undefined, seed: undefined }, { max_tokens: 512, stop: [] }],
  [{ image, max_tokens: 1, stop: "x" }, { max_tokens: 1, stop: ["x"] }],
  [{ image, stop: ["x", "y"] }, { max_tokens: 512, stop: ["x", "y"] }],
  [{ image, temperature: 0, top_p: 1, top_k: 0, seed: 0 }, { max_tokens: 512, stop: [], temperature: 0, top_p: 1, top_k: 0, seed: 0 }],
  [{ raw: true, prompt: "once upon a time" }, { raw: true, prompt: "once upon a time", max_tokens: 512, stop: [] }],
  [{ raw: true, prompt: "<image> a", image }, { raw: true, prompt: "<image> a", max_tokens: 512, stop: [] }],
  [{ messages: [turn] }, { messages: [turn], max_tokens: 512, stop: [] }],
  [{ image, image_aspect_ratio: "pad" }, { image_aspect_ratio: "pad", max_tokens: 512, stop: [] }],
  // An empty prompt is none: the engine then asks its own question.
  [{ image, prompt: "" }, { max_tokens: 512, stop: [] }],
  [{ image, prompt: " \n\t\u00a0\u3000" }, { max_tokens: 512, stop: [] }],
  [{ prompt: "", messages: [turn] }, { messages: [turn], max_tokens: 512, stop: [] }],
  // The engine's numbers have 32 bits, where these mean "as many as there are"; a seed has 64.
  [{ image, max_tokens: 2 ** 32, top_k: 2 ** 32 }, { max_tokens: LARGEST, top_k: LARGEST, stop: [] }],
  [{ image, max_tokens: 2 ** 60, top_k: Number.MAX_VALUE }, { max_tokens: LARGEST, top_k: LARGEST, stop: [] }],
  [{ image, max_tokens: LARGEST, seed: 2 ** 53 - 1 }, { max_tokens: LARGEST, seed: 2 ** 53 - 1, stop: [] }],
  // Texts that were cut through an emoji.
  [{ image, prompt: CUT, stop: [CUT, "x"] }, { prompt: WHOLE, max_tokens: 512, stop: [WHOLE, "x"] }],
  [
    { image, messages: [{ role: "user", content: CUT }, { role: "assistant", content: [{ type: "text", text: "\udc00a😀" }] }] },
    { messages: [{ role: "user", content: WHOLE }, { role: "assistant", content: [{ type: "text", text: "\ufffda😀" }] }], max_tokens: 512, stop: [] },
  ],
  // What the engine does not know of a message does not reach it.
  [
    { messages: [{ role: "user", name: 5n, content: [{ type: "input_text", text: "hi", cache: () => 1 }] }] },
    { messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }], max_tokens: 512, stop: [] },
  ],
];
for (const [input, expected] of TAKEN) {
  test(`taken: ${shown(input)}`, () => {
    const { image, fields } = checkInput(input);
    assert.deepEqual(fields, expected);
    assert.equal(image, input.image);
  });
}

const REFUSED = [
  [{ prompt: "hi" }, "missing_input", /`image`/],
  [{}, "missing_input", /`image`/],
  [{ raw: true, image }, "missing_input", /`prompt`/],
  [{ raw: true, prompt: "<image> a" }, "missing_input", /`image`/],
  [{ image, prompt: "hi", messages: [turn] }, "invalid_input", /`messages`.*`prompt`/],
  [{ image, raw: true, messages: [turn] }, "invalid_input", /`raw`/],
  [{ image, prompt: 3 }, "invalid_input", /`prompt` must be a text, but it is 3/],
  [{ image, raw: "yes" }, "invalid_input", /`raw`/],
  [{ image, max_tokens: 0 }, "invalid_input", /`max_tokens`/],
  [{ image, max_tokens: 1.5 }, "invalid_input", /`max_tokens`/],
  [{ image, max_tokens: "9" }, "invalid_input", /`max_tokens`.*"9"/],
  [{ image, temperature: -0.1 }, "invalid_input", /`temperature` must be a number from 0 to 5/],
  [{ image, temperature: NaN }, "invalid_input", /`temperature`/],
  [{ image, temperature: null }, "invalid_input", /`temperature`.*null/],
  [{ image, top_p: 1.1 }, "invalid_input", /`top_p`/],
  [{ image, top_k: -1 }, "invalid_input", /`top_k`/],
  [{ image, top_k: 2.5 }, "invalid_input", /`top_k`/],
  [{ image, seed: -1 }, "invalid_input", /`seed`/],
  [{ image, seed: 2 ** 60 }, "invalid_input", /`seed` must be a whole number from 0 to 9007199254740991/],
  [{ image, seed: 5n }, "invalid_input", /`seed`.*5n/],
  [{ image, max_tokens: Infinity }, "invalid_input", /`max_tokens`.*Infinity/],
  [{ image, top_k: Symbol("many") }, "invalid_input", /`top_k`.*a symbol/],
  [{ image, top_p: 10n ** 100n }, "invalid_input", /`top_p`.* 10{39}…n/],
  [{ image, prompt: Object.create(null) }, "invalid_input", /`prompt`.*of type Object/],
  [{ image, prompt: () => "hi" }, "invalid_input", /`prompt`.*a function/],
  [{ image, prompt: { get constructor() { throw new Error("no"); } } }, "invalid_input", /`prompt`.*an object that cannot be read/],
  [{ raw: true, prompt: "", image }, "missing_input", /`prompt`.*white space/],
  [{ raw: true, prompt: " \n", image }, "missing_input", /`prompt`.*white space/],
  [{ image, repetition_penalty: 0 }, "invalid_input", /`repetition_penalty`/],
  [{ image, repetition_penalty: 3 }, "invalid_input", /`repetition_penalty`/],
  [{ image, frequency_penalty: 2.1 }, "invalid_input", /`frequency_penalty`/],
  [{ image, presence_penalty: -2.1 }, "invalid_input", /`presence_penalty`/],
  [{ image, image_aspect_ratio: "stretch" }, "invalid_input", /`image_aspect_ratio`.*"pad" or "crop"/],
  [{ image, stop: "" }, "invalid_input", /`stop`/],
  [{ image, stop: [1] }, "invalid_input", /`stop`/],
  [{ image, messages: [] }, "invalid_input", /`messages`/],
  [{ image, messages: [{ role: "robot", content: "hi" }] }, "invalid_input", /`messages\[0\].role`/],
  [{ image, messages: [turn, { role: "user" }] }, "invalid_input", /`messages\[1\].content`/],
  [{ image, messages: [{ role: "user", content: [{ type: "sound" }] }] }, "invalid_input", /`messages\[0\].content\[0\].type`.*"sound"/],
  [{ image, messages: [{ role: "user", content: [{ type: "text" }] }] }, "invalid_input", /`messages\[0\].content\[0\].text`/],
  [{ image, messages: [{ role: "user", content: [null] }] }, "invalid_input", /`messages\[0\].content\[0\].type`/],
  [{ image, messages: [null] }, "invalid_input", /`messages\[0\].role`/],
  [{ image, maxTokens: 9 }, "invalid_input", /`maxTokens` is not a field.*max_tokens/],
  [{ image, toString: 9 }, "invalid_input", /`toString` is not a field/],
  [null, "invalid_input", /object/],
  ["text", "invalid_input", /object/],
  [[image], "invalid_input", /object.*a list/],
  [new Uint8Array(3), "invalid_input", /object.*of type Uint8Array/],
];
for (const [input, code, message] of REFUSED) {
  test(`refused: ${shown(input)}`, () => refuses(() => checkInput(input), code, message));
}

function refuses(call, code, message) {
  assert.throws(call, (error) => {
    assert.ok(error instanceof LlavaError, `${error}`);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

const throwing = (field) => ({ image, get [field]() { throw null; } });
const proxy = Proxy.revocable({}, {});
proxy.revoke();
const UNREADABLE = {
  "a getter that throws": throwing("prompt"),
  "a getter of the picture that throws": throwing("image"),
  "a message whose getter throws": { image, messages: [throwing("role")] },
  "a part whose getter throws": { image, messages: [{ role: "user", content: [throwing("type")] }] },
  "a proxy that was revoked": proxy.proxy,
  "a list that was revoked": { image, stop: proxy.proxy },
};
for (const [kind, input] of Object.entries(UNREADABLE)) {
  test(`refused: ${kind}`, () => refuses(() => checkInput(input), "invalid_input", /cannot be read|`stop`/));
}

test("each field is read once", () => {
  let reads = 0;
  const { image, fields } = checkInput({ get image() { return ++reads; }, get prompt() { return `${++reads}`; } });
  assert.deepEqual([image, fields.prompt, reads], [1, "2", 2]);
});

test("no more than 40 characters of a value are quoted", () => {
  const long = "x".repeat(1000);
  const inputs = [{ [long]: 1 }, { image, seed: long }, { image, image_aspect_ratio: long }, { image, stop: [[long]] }, { image, seed: BigInt("1".repeat(1000)) }, long];
  const part = { type: "image", [long]: 1 };
  inputs.push({ image, messages: [{ role: long, content: long }] }, { image, messages: [{ role: "user", content: [part] }] });
  inputs.push({ image, prompt: new (class { static name = long; })() }, { image, messages: [{ role: "user", content: [{ type: long }] }] });
  for (const input of inputs) {
    assert.throws(() => checkInput(input), ({ message }) => !/x{41}|1{41}/.test(message) && message.length < 400, shown(input));
  }
});

test("long lists with holes are refused at the first", { timeout: 1000 }, () => {
  const list = new Array(2 ** 32 - 1);
  refuses(() => checkInput({ image, stop: list }), "invalid_input", /`stop`/);
  refuses(() => checkInput({ image, messages: list }), "invalid_input", /`messages\[0\].role`/);
  refuses(() => checkInput({ image, messages: [{ role: "user", content: list }] }), "invalid_input", /`messages\[0\].content\[0\].type`/);
});

const ADDRESS = "https://example.org/cat.jpg";
const ask = (...parts) => [{ role: "user", content: [{ type: "text", text: "hi" }, ...parts] }];
const MARKED = [{ role: "user", content: [{ type: "text", text: "hi" }, { type: "image" }] }];

/** Pictures in messages, as OpenAI's two APIs and transformers write them. */
const PICTURED = {
  "image_url with { url }": { type: "image_url", image_url: { url: ADDRESS, detail: "low" } },
  "image_url with a text": { type: "image_url", image_url: ADDRESS },
  "input_image": { type: "input_image", image_url: ADDRESS, detail: "auto" },
  "input_image without the file of an upload": { type: "input_image", image_url: ADDRESS, file_id: null },
  "image with the picture": { type: "image", image: ADDRESS },
};
for (const [kind, part] of Object.entries(PICTURED)) {
  test(`a picture in messages: ${kind}`, () => {
    const { image, fields } = checkInput({ messages: ask(part) });
    assert.equal(image, ADDRESS);
    assert.deepEqual(fields.messages, MARKED);
  });
}
test("a picture in messages: a URL object", () => {
  const url = new URL(ADDRESS);
  assert.equal(checkInput({ messages: ask({ type: "image_url", image_url: url }) }).image, url);
  assert.equal(checkInput({ messages: ask({ type: "image_url", image_url: { url } }) }).image, url);
});
test("a part without a picture is the place of the input's", () => {
  for (const type of ["image", "image_url", "input_image"]) {
    const { image: given, fields } = checkInput({ image, messages: ask({ type }) });
    assert.equal(given, image);
    assert.deepEqual(fields.messages, MARKED);
  }
});

const NOT_ONE = [
  ["both in the input and in a message", { image, messages: ask(PICTURED.input_image) }, "invalid_input", /`image`.*`messages\[0\].content\[1\]`/],
  ["two in one message", { messages: ask(PICTURED.input_image, PICTURED.input_image) }, "invalid_input", /`messages\[0\].content\[2\]`.*`messages\[0\].content\[1\]`/],
  ["two in two messages", { messages: [...ask(PICTURED.input_image), ...ask({ type: "image" })] }, "invalid_input", /`messages\[1\].content\[1\]`.*`messages\[0\].content\[1\]`/],
  ["two places for the input's", { image, messages: ask({ type: "image" }, { type: "image" }) }, "invalid_input", /`messages\[0\].content\[2\]`/],
  ["two in one part", { messages: ask({ type: "image", image, image_url: ADDRESS }) }, "invalid_input", /both `image` and `image_url`/],
  ["a place and none", { messages: ask({ type: "image" }) }, "missing_input", /`messages\[0\].content\[1\]`/],
  ["the file of an upload", { messages: ask({ type: "input_image", file_id: "file-1" }) }, "invalid_input", /`messages\[0\].content\[1\].file_id`.*image_url/],
  ["a number as URL", { messages: ask({ type: "image_url", image_url: 5 }) }, "invalid_input", /`messages\[0\].content\[1\].image_url` must be a URL.*5/],
  ["no URL in { url }", { messages: ask({ type: "image_url", image_url: { src: ADDRESS } }) }, "invalid_input", /`messages\[0\].content\[1\].image_url`/],
];
for (const [kind, input, code, message] of NOT_ONE) {
  test(`refused: pictures in messages: ${kind}`, () => refuses(() => checkInput(input), code, message));
}

test("errors carry the hosted service's numeric codes where it has one", () => {
  const codes = { missing_input: 3003, too_large: 3006, aborted: 3008, bad_image: 5004, no_such_model: 5007, network: undefined };
  for (const [code, hosted] of Object.entries(codes)) assert.equal(new LlavaError(code, "").hosted_code, hosted);
});
