// What the package ships: the engine's size, and that no export of it runs the static constructors again.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { firstCalls } from "./wasm.mjs";

const wasm = await readFile(new URL("../../www/pkg/llava_web_bg.wasm", import.meta.url));

test("the engine is at most 12 MB, and 2.5 MB with brotli", () => {
  const brotli = brotliCompressSync(wasm).length;
  console.log(`engine: ${wasm.length} bytes, ${brotli} with brotli`);
  assert.ok(wasm.length <= 12e6);
  assert.ok(brotli <= 2.5e6);
});

// Without the call in src/web.rs the linker wraps every export: each begins with a call of __wasm_call_ctors, and a kernel
// launch costs 80 times as much. Names are stripped, so what gives it away is that most exports first call the same function.
test("no export runs the static constructors", () => {
  const exports = firstCalls(wasm);
  assert.ok(exports.length > 10, "the engine has exports");
  const counts = new Map();
  for (const { callee } of exports) if (callee !== undefined) counts.set(callee, (counts.get(callee) ?? 0) + 1);
  const [callee, times] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [undefined, 0];
  assert.ok(times < exports.length / 2, `${times} of ${exports.length} exports begin with a call of function ${callee}`);
});
