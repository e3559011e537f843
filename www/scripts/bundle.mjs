// Makes www/dist, the package's code, from tsc's output in www/build and wasm-bindgen's in www/pkg. Page, worker and engine are one file each:
// less to fetch one after the other, and a worker that can be started from a copy of its text.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { cp, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { copyDefaultModel } from "./default-files.mjs";
import { copyTypes } from "./types.mjs";

const WWW = dirname(dirname(fileURLToPath(import.meta.url)));
const WASM = join(WWW, "pkg/llava_web_bg.wasm");

/** What src/engine/build.ts declares, for the engine whose wasm is `wasm` (bytes). */
export async function definitions(wasm) {
  const { version } = JSON.parse(await readFile(join(WWW, "package.json"), "utf8"));
  const sha256 = createHash("sha256").update(wasm).digest("hex");
  return { LLAVA_VERSION: JSON.stringify(version), LLAVA_WASM_SHA256: JSON.stringify(sha256) };
}

const COMMON = {
  bundle: true,
  target: "es2022",
  logLevel: "warning",
  logOverride: { "duplicate-object-key": "silent" }, // the glue names its snippet once for each function
};

/** Bundles www/build/<name>.js and resolves to esbuild's result. `glue` takes the place of the engine's own glue. */
export function bundle(name, define, { glue, ...options } = {}) {
  return build({ ...COMMON, entryPoints: [join(WWW, `build/${name}.js`)], format: "esm", define, plugins: [instances(glue)], ...options });
}

/**
 * `llava-web:wasm` is a function, `instantiate`, made of wasm-bindgen's glue: that is a module, of which a thread has one, and with it
 * one wasm and one GPU device, which may be lost.
 */
function instances(glue = join(WWW, "pkg/llava_web.js")) {
  const setup = (setup) => {
    setup.onResolve({ filter: /^llava-web:wasm$/ }, () => ({ path: glue, namespace: "glue" }));
    setup.onLoad({ filter: /.*/, namespace: "glue" }, async ({ path }) => {
      const { outputFiles } = await build({ ...COMMON, entryPoints: [path], format: "iife", globalName: "glue", write: false });
      return { contents: `export function instantiate() {\n${outputFiles[0].text}\nreturn glue;\n}` };
    });
  };
  return { name: "instances", setup };
}

async function main() {
  const dist = join(WWW, "dist");
  await rm(dist, { recursive: true, force: true });
  const define = await definitions(await readFile(WASM));
  const sources = { sourcemap: true, sourcesContent: true };
  await Promise.all([
    bundle("index", define, { outfile: join(dist, "index.js"), ...sources }),
    bundle("worker", define, { outfile: join(dist, "llava-web/worker.js"), ...sources }),
    bundle("engine", define, { outfile: join(dist, "llava-web/engine.js"), ...sources }),
  ]);
  await copyTypes();
  await cp(WASM, join(dist, "llava-web/engine.wasm"));
  await copyDefaultModel(join(dist, "llava-web/model"));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
