// Which kernel variants run: what the adapter computes wrongly or refuses is never used, and the model answers all the same; where
// nothing is left, loading is an error that costs neither what is stored nor the page. The engine is the real one; what fails
// are its shaders, changed on their way to the adapter.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AS_GPU, assertSound, drawRedCircle, eachWithFreshPage, load, readBundle, ROOT } from "./support.mjs";

const bundle = await readBundle(`${ROOT}models/llava-sketches`);
let site, server, page;
eachWithFreshPage(bundle, (fresh) => ({ site, server, page } = fresh), { fake: false, device: "gpu" });

/** What can be wrong with a module: bodies of functions of its `code`, which return other code. */
const NO_WGSL = 'return code + "fn other() { nothing(); }";';
const NO_PIPELINE = 'return code.replace("fn main(", "fn other(");';
const off = (text) => `return code.replaceAll("${text}", "1.01 * ${text}");`;

/** A prelude that changes the modules which begin with the line `// name` and hold `holding`. */
function breaking(name, fault, holding = "") {
  return `{
    const { createShaderModule } = GPUDevice.prototype;
    const broken = (code) => { ${fault} };
    GPUDevice.prototype.createShaderModule = function ({ code, ...more }) {
      const meant = /^\\/\\/ (${name})\\n/.test(code) && code.includes("${holding}");
      return createShaderModule.call(this, { code: meant ? broken(code) : code, ...more });
    };
  }`;
}

/** Loads the model, which must work; what is found out about its variants. */
async function loaded(options) {
  const { error, value } = await load(page, `${server.origin}/m/`, options);
  assert.equal(error, undefined);
  return value.variants;
}

/** Fails unless a red circle is told as one. */
async function assertAnswers() {
  await page.evaluate(drawRedCircle);
  const answer = await page.evaluate(() => globalThis.model.caption(globalThis.drawing, "What is in this picture?"));
  assert.match(answer, /red circle/);
}

test('on an adapter that passes for a GPU they are compared and timed, with precision: "fast" those that round more too; the choice is kept until it is wrong', async () => {
  site.prelude = AS_GPU;
  const first = await loaded({ precision: "fast" });
  assert.deepEqual(Object.keys(first), ["attention_decode", "attention_flash", "linear_few", "linear_mat", "linear_norm", "linear_vec"]);
  const timed = (operation) => Object.keys(first[operation].microseconds).filter((name) => !name.startsWith("lanes64-subgroups"));
  // Few rows go where a row's numbers are the same bits as among many.
  const few = { "mat-f16": ["few-f16", "mat-f16"], "subgroup-matrix": [], dot: [] }[first.linear_mat.variant] ?? ["few-32", "few-64", "mat-4x4", "mat-8x4"];
  assert.deepEqual(timed("linear_few"), few);
  const [f16, dot] = await page.evaluate(async () => {
    const { features } = await navigator.gpu.requestAdapter();
    return [features.has("shader-f16"), navigator.gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product")];
  });
  assert.ok(dot, "this browser has none that round to bytes");
  assert.deepEqual(timed("linear_vec"), ["lanes16", "lanes64", "lanes64-dot", "lanes64-halves"]);
  // What rounds its input has the norm in a launch of its own.
  assert.deepEqual(timed("linear_norm"), first.linear_vec.variant === "lanes64-dot" ? [] : ["alone", "folded"]);
  assert.deepEqual(timed("linear_mat"), ["dot", "mat-4x4", "mat-8x4", ...(f16 ? ["mat-f16"] : [])]);
  for (const { wrong } of Object.values(first)) assert.deepEqual(wrong, []);
  await assertAnswers();

  for (const [operation, { variant, microseconds, wrong }] of Object.entries(await loaded({ precision: "fast" }))) {
    assert.deepEqual([variant, microseconds, wrong], [first[operation].variant, {}, []]);
  }

  // As if the driver had been updated since.
  const { variant } = first.linear_vec;
  site.prelude += breaking("linear_vec|linear_vec_dot", off("bias[row]"), variant === "lanes16" ? "const LANES: u32 = 16u;" : "const LANES: u32 = 64u;");
  const { linear_vec } = await loaded({ precision: "fast" });
  assert.ok(linear_vec.wrong.includes(variant), JSON.stringify(linear_vec));
  assert.equal(linear_vec.variant.startsWith("lanes16"), !variant.startsWith("lanes16"));
  await assertAnswers();
});

for (const [what, fault] of [["is no WGSL for this browser", NO_WGSL], ["makes no pipeline", NO_PIPELINE], ["computes wrongly", off("dims.scale")]]) {
  test(`where the one for this kind of adapter ${what}, that of the other kind is used`, async () => {
    site.prelude = breaking("attention_flash_cpu", fault);
    const { attention_flash } = await loaded();
    assert.deepEqual([attention_flash.variant, attention_flash.wrong], ["gpu", ["cpu"]]);
    await assertAnswers();
  });
}

/** What runs an operation, and how each of it is broken. */
const NOTHING_LEFT = [
  ["linear_vec", "linear_cpu|linear_vec", NO_WGSL],
  ["attention_decode", "attention_decode_cpu|attention_decode_gpu", off("dims.scale")],
  ["rms_norm", "rms_norm", NO_WGSL],
  ["rms_norm", "rms_norm", NO_WGSL, AS_GPU],
  ["sample", "sample", NO_PIPELINE],
];

for (const [operation, names, fault, adapter = ""] of NOTHING_LEFT) {
  test(`where nothing is left for ${operation}${adapter && " on a GPU"}, loading is an error that says what to do; nothing stored is lost, and the page lives`, async () => {
    site.prelude = adapter + breaking(names, fault);
    const { error } = await load(page, `${server.origin}/m/`);
    assert.equal(error?.code, "gpu", error?.message);
    assert.match(error.message, new RegExp(`\`${operation}\`[^]*update the browser or the graphics driver`));
    const stored = await assertSound(page);
    for (const { sha256 } of bundle.manifest.chunks) assert.ok(stored.includes(sha256), "a chunk is lost");
    site.prelude = "";
    server.takeChunks();
    await loaded();
    assert.deepEqual(server.takeChunks(), []);
    await assertAnswers();
  });
}
