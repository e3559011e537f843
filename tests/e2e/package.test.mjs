// What the package ships: the engine's size, and that no export of it runs the static constructors again.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { firstCalls } from "./wasm.mjs";

const DIST = new URL("../../www/package/dist/", import.meta.url);
const wasm = await readFile(new URL("llava-web/engine.wasm", DIST));

test("page, worker and engine together are at most 2.5 MB with gzip", async () => {
  const files = ["index.js", "llava-web/worker.js", "llava-web/engine.wasm"];
  const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(new URL(file, DIST)), { level: 9 }).length));
  console.log(files.map((file, index) => `${file}: ${sizes[index]} bytes`).join(", "));
  assert.ok(sizes.reduce((sum, size) => sum + size, 0) <= 2.5e6);
});

// Without the call in src/web.rs the linker wraps every export: each begins with a call of __wasm_call_ctors, and a kernel
// launch costs 80 times as much. Names are stripped, so what gives it away is that most exports first call the same function.
function mostCalledFirst(wasm) {
  const exports = firstCalls(wasm);
  const counts = new Map([[undefined, 0]]);
  for (const { callee } of exports) if (callee !== undefined) counts.set(callee, (counts.get(callee) ?? 0) + 1);
  return Math.max(...counts.values()) / exports.length;
}

test("no export runs the static constructors", () => {
  assert.ok(firstCalls(wasm).length > 10, "the engine has exports");
  const share = mostCalledFirst(wasm);
  assert.ok(share < 0.5, `${Math.round(100 * share)}% of the exports begin with a call of the same function`);
});

test("the check above sees wrapped exports", () => {
  const wrapper = [4, 0, 0x10, 1, 0x0b]; // calls function 1
  const module = new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 4, 1, 0x60, 0, 0], // one type: () -> ()
    ...[2, 7, 1, 1, 0x6d, 1, 0x66, 0, 0], // function 0 is imported
    ...[3, 4, 3, 0, 0, 0], // functions 1 to 3
    ...[7, 9, 2, 1, 0x61, 0, 2, 1, 0x62, 0, 3], // 2 and 3 are exported
    ...[10, 14, 3, 2, 0, 0x0b, ...wrapper, ...wrapper],
  ]);
  assert.ok(WebAssembly.validate(module));
  assert.equal(mostCalledFirst(module), 1);
});
