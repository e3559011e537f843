// cargo's runner for tests in wasm: wasm-bindgen's, but in Node on Dawn, which is Chromium's WebGPU, and whatever GPU it finds. That has
// what Chromium keeps back so far: products of matrices by subgroups, and 16-bit floats on software drivers.
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import { LONGEST_RUN, resultIn, serveTests } from "../wasm-server.mjs";

const { create, globals } = await import(pathToFileURL(process.env.LLAVA_DAWN).href);

// Node does not import what a server has.
register(
  `data:text/javascript,${encodeURIComponent(`
    const isServed = (url) => url?.startsWith("http:");
    export async function resolve(name, context, next) {
      if (!isServed(name) && !isServed(context.parentURL)) return next(name, context);
      return { url: new URL(name, context.parentURL).href, format: "module", shortCircuit: true };
    }
    export async function load(url, context, next) {
      if (!isServed(url)) return next(url, context);
      return { format: "module", shortCircuit: true, source: await (await fetch(url)).text() };
    }
  `)}`,
);

const gpu = create(["enable-dawn-features=allow_unsafe_apis"]);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("Dawn finds no GPU: it takes the Vulkan drivers that VK_DRIVER_FILES names, Mesa's lavapipe from 25.2 on");
console.log(`${adapter.info.description}: ${[...adapter.features].sort().join(" ")}`);

const server = serveTests(process.argv.slice(2));
process.once("exit", server.stop);
setTimeout(() => end(`the tests took longer than ${LONGEST_RUN / 1000} s`), LONGEST_RUN).unref();

/** Whether a test has told that the engine uses such of this adapter. */
let matrices = false;

/** Ends the program, with what is wrong if anything is. */
function end(wrong) {
  if (wrong) console.error(wrong);
  process.exit(wrong ? 1 : 0);
}

/** The page's: what is written there goes out, and the result ends it all. */
const output = {
  written: "",
  set textContent(text) {
    this.appendChild({ text: text.slice(this.written.length) });
  },
  get textContent() {
    return this.written;
  },
  get innerHTML() {
    return this.written;
  },
  appendChild({ text }) {
    this.written += text;
    process.stdout.write(text);
    const result = resultIn(this.written);
    if (!result) return;
    end(result !== "ok" ? "tests failed" : matrices ? undefined : "none of this adapter's subgroup matrices is used, for which these tests are");
  },
};
class Window {
  static [Symbol.hasInstance](value) {
    return value === globalThis;
  }
}
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "Dawn" } });
Object.assign(globalThis, globals, {
  Window,
  Worker: class {},
  SharedWorker: class {},
  window: globalThis,
  self: globalThis,
  document: { getElementById: () => output, createTextNode: (text) => ({ text }), body: output },
  is_bench: false,
  nocapture: true,
  __wbg_test_invoke: (test) => test(),
});
for (const method of ["debug", "log", "info", "warn", "error"]) {
  const log = console[method];
  console[method] = (...args) => {
    matrices ||= args.join(" ").includes("subgroup_matrix: Some(");
    globalThis[`on_console_${method}`]?.(args);
    log.apply(console, args);
  };
}

const address = await server.address;
const { fetch } = globalThis;
globalThis.fetch = (url, options) => fetch(new URL(url, address), options);
await import(new URL("run.js", address).href);
