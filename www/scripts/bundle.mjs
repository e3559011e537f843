// Makes www/dist, the package's code, from tsc's output in www/build and wasm-bindgen's in www/pkg. Page, worker and engine are one file each:
// less to fetch one after the other, and a worker that can be started from a copy of its text. So is what Node takes in their place.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { copyDefaultModel } from "./default-files.mjs";
import { copyTypes } from "./types.mjs";

const WWW = dirname(dirname(fileURLToPath(import.meta.url)));
/** What engines are called in the package: the first one's name is as old as the package. */
const nameOf = (kind) => (kind === "gpu" ? "engine.wasm" : `engine-${kind}.wasm`);

/** The engines' bytes, by kind of device, of a package's folder `dist/llava-web`. */
export async function readEngines(folder) {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".wasm")).sort();
  const read = names.map(async (name) => [/^engine-(.+)\.wasm$/.exec(name)?.[1] ?? "gpu", await readFile(join(folder, name))]);
  return Object.fromEntries(await Promise.all(read));
}

/** What src/engine/build.ts declares, for engines whose wasm are `wasms` (bytes, by kind of device). */
export async function definitions(wasms) {
  const { version } = JSON.parse(await readFile(join(WWW, "package.json"), "utf8"));
  const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
  const hashes = Object.fromEntries(Object.entries(wasms).map(([kind, bytes]) => [kind, sha256(bytes)]));
  return { LLAVA_VERSION: JSON.stringify(version), LLAVA_WASM_SHA256: JSON.stringify(hashes) };
}

const COMMON = {
  bundle: true,
  target: "es2022",
  logLevel: "warning",
  logOverride: {
    "duplicate-object-key": "silent", // the glue names its snippet once for each function
    "empty-import-meta": "silent", // where the files are only the page knows: workers' bundles drop it
  },
};

/** Bundles www/build/<name>.js and resolves to esbuild's result. `glue` takes the place of the engines' own glue. */
export function bundle(name, define, { glue, ...options } = {}) {
  return build({ ...COMMON, entryPoints: [join(WWW, `build/${name}.js`)], format: "esm", define, plugins: [helper, instances(glue)], ...options });
}

/** Bundles www/build/node/<name>.js for Node: a file `x.node.js` takes the place of `x.js` beside it. */
function bundleForNode(name, define, options) {
  return build({
    ...COMMON,
    entryPoints: [join(WWW, `build/node/${name}.js`)],
    platform: "node",
    target: "node20",
    define,
    plugins: [helperOfNode, ofNode, instances()],
    ...options,
  });
}

const ofNode = {
  name: "of-node",
  setup({ onResolve }) {
    onResolve({ filter: /^\..*\.js$/ }, ({ path, resolveDir }) => {
      const own = join(resolveDir, path.replace(/\.js$/, ".node.js"));
      return existsSync(own) ? { path: own } : undefined;
    });
  },
};

/** `llava-web:<name>` holds the text of a worker, a classic script, as `make` bundles it: the options of esbuild go to it. */
function text(name, make) {
  const setup = ({ onResolve, onLoad }) => {
    onResolve({ filter: new RegExp(`^llava-web:${name}$`) }, ({ path }) => ({ path, namespace: `text-${name}` }));
    onLoad({ filter: /.*/, namespace: `text-${name}` }, async () => {
      const { outputFiles } = await make({ minifyWhitespace: true, write: false });
      return { contents: `export const script = ${JSON.stringify(outputFiles[0].text)};` };
    });
  };
  return { name: `text-${name}`, setup };
}

const helper = text("helper", (options) => bundle("helper", {}, { format: "iife", ...options }));
const helperOfNode = text("helper", (options) => bundleForNode("helper.node", {}, { format: "cjs", ...options }));
const workerOfNode = (define) => text("worker", (options) => bundleForNode("worker.node", define, { format: "cjs", ...options }));

/**
 * `llava-web:glue/<kind of device>` is a function, `instantiate`, made of wasm-bindgen's glue: that is a module, of which a thread has one, and with it
 * one wasm and one GPU device, which may be lost. Nobody reads it, so it is made small.
 */
function instances(glue) {
  const setup = (setup) => {
    setup.onResolve({ filter: /^llava-web:glue\/.+$/ }, ({ path }) => ({
      path: glue ?? join(WWW, "pkg", path.slice("llava-web:glue/".length), "llava_web.js"),
      namespace: "glue",
      sideEffects: false,
    }));
    setup.onLoad({ filter: /.*/, namespace: "glue" }, async ({ path }) => {
      const { outputFiles } = await build({ ...COMMON, entryPoints: [path], format: "iife", globalName: "glue", minify: true, write: false });
      return { contents: `export function instantiate() {\n${outputFiles[0].text}\nreturn glue;\n}` };
    });
  };
  return { name: "instances", setup };
}

async function main() {
  const dist = join(WWW, "dist");
  await rm(dist, { recursive: true, force: true });
  const assets = join(dist, "llava-web");
  for (const kind of await readdir(join(WWW, "pkg"))) await cp(join(WWW, "pkg", kind, "llava_web_bg.wasm"), join(assets, nameOf(kind)));
  const define = await definitions(await readEngines(assets));
  const sources = { sourcemap: true, sourcesContent: true };
  // Not the page's own: bundlers read comments in it.
  const small = { ...sources, minifyWhitespace: true };
  await Promise.all([
    bundle("index", define, { outfile: join(dist, "index.js"), ...sources }),
    bundle("worker", define, { outfile: join(assets, "worker.js"), ...small }),
    bundle("engine", define, { outfile: join(assets, "engine.js"), ...small }),
    bundleForNode("index", define, { outfile: join(dist, "node.js"), format: "esm", plugins: [workerOfNode(define), ofNode, instances()], ...sources }),
    bundleForNode("command.node", define, { outfile: join(dist, "command.js"), format: "esm", external: ["llava-web"] }),
  ]);
  await copyTypes();
  await copyDefaultModel(join(assets, "model"));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
