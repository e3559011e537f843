// Every field of the input: what is taken, what is refused, and that the refusal names the field.
import assert from "node:assert/strict";
import { test } from "node:test";
import { LlavaError } from "../../www/build/errors.js";
import { checkInput } from "../../www/build/input.js";

const image = [1];
const turn = { role: "user", content: "hi" };

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
];
for (const [input, expected] of TAKEN) {
  test(`taken: ${JSON.stringify(input)}`, () => assert.deepEqual(checkInput(input), expected));
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
  [{ image, seed: 2 ** 60 }, "invalid_input", /`seed`/],
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
  [{ image, messages: [{ role: "user", content: [{ type: "sound" }] }] }, "invalid_input", /`messages\[0\].content`/],
  [{ image, maxTokens: 9 }, "invalid_input", /`maxTokens` is not a field.*max_tokens/],
  [{ image, toString: 9 }, "invalid_input", /`toString` is not a field/],
  [null, "invalid_input", /object/],
  ["text", "invalid_input", /object/],
];
for (const [input, code, message] of REFUSED) {
  test(`refused: ${JSON.stringify(input)}`, () => {
    assert.throws(() => checkInput(input), (error) => error instanceof LlavaError && error.code === code && message.test(error.message));
  });
}

test("errors carry the hosted service's numeric codes where it has one", () => {
  const codes = { missing_input: 3003, too_large: 3006, aborted: 3008, bad_image: 5004, no_such_model: 5007, network: undefined };
  for (const [code, hosted] of Object.entries(codes)) assert.equal(new LlavaError(code, "").hosted_code, hosted);
});
