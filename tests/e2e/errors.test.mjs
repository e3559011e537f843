// Errors as a caller meets them outside of `catch`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { LlavaError } from "../../www/build/basics/errors.js";

test("JSON of an error has its message", () => {
  assert.deepEqual(JSON.parse(JSON.stringify({ error: new LlavaError("bad_image", "`image`: none.") })), {
    error: { name: "LlavaError", code: "bad_image", hosted_code: 5004, message: "`image`: none." },
  });
  assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(new LlavaError("gpu", "lost")))), ["name", "code", "message"]);
});
