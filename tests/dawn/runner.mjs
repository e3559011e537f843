// cargo's runner for tests in wasm: wasm-bindgen's, but in Node on Dawn, which is Chromium's WebGPU, and whatever GPU it finds. That has
// what Chromium keeps back so far: products of matrices by subgroups, and 16-bit floats on software drivers.
import { spawn } from "node:child_process";
import { register } from "node:module";
import { createInterface } from "node:readline";

const { create, globals } = await import(process.env.LLAVA_DAWN ?? "webgpu");

register(
  `data:text/javascript,${encodeURIComponent(`
    const served = (url) => url?.startsWith("http:");
    export async function resolve(name, context, next) {
      if (!served(name) && !served(context.parentURL)) return next(name, context);
      return { url: new URL(name, context.parentURL).href, format: "module", shortCircuit: true };
    }
    export async function load(url, context, next) {
      if (!served(url)) return next(url, context);
      return { format: "module", shortCircuit: true, source: await (await fetch(url)).text() };
    }
  `)}`,
);

const gpu = create(["enable-dawn-features=allow_unsafe_apis", ...(process.env.LLAVA_DAWN_FLAGS?.split(" ") ?? [])]);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("Dawn finds no GPU: it takes the Vulkan drivers that VK_DRIVER_FILES names, Mesa's lavapipe from 25.2 on");
console.log(`${adapter.info.description}: ${[...adapter.features].sort().join(" ")}`);

const server = spawn("wasm-bindgen-test-runner", process.argv.slice(2), {
  env: { ...process.env, NO_HEADLESS: "1", WASM_BINDGEN_TEST_ADDRESS: "127.0.0.1:0" },
  stdio: ["ignore", "pipe", "inherit"],
});
process.once("exit", () => server.kill());

/** The page's: what is written there goes out, and the result ends it all. */
const output = {
  written: "",
  set textContent(text) {
    this.appendChild({ text: text.slice(this.written.length) });
  },
  get textContent() {
    return this.written;
  },
  appendChild({ text }) {
    this.written += text;
    process.stdout.write(text);
    const [, result] = this.written.match(/^test result: (\w+)\..*\n/m) ?? [];
    if (result) process.exit(result === "ok" ? 0 : 1);
  },
  get innerHTML() {
    return this.written;
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
  window: globalThis,
  Worker: class {},
  SharedWorker: class {},
  self: globalThis,
  document: { getElementById: () => output, createTextNode: (text) => ({ text }), body: output },
  is_bench: false,
  nocapture: true,
  __wbg_test_invoke: (test) => test(),
});
for (const method of ["debug", "log", "info", "warn", "error"]) {
  const log = console[method];
  console[method] = (...args) => {
    globalThis[`on_console_${method}`]?.(args);
    log.apply(console, args);
  };
}

const address = await served();
const { fetch } = globalThis;
globalThis.fetch = (url, options) => fetch(new URL(url, address), options);
await import(`${address}/run.js`);

/** Where the server says that the tests are. */
function served() {
  return new Promise((done, fail) => {
    server.once("error", fail);
    server.once("close", (code) => fail(new Error(`wasm-bindgen-test-runner ended with ${code}`)));
    createInterface(server.stdout).on("line", (line) => {
      const [address] = line.match(/http:[^\s/]*\/\/[^\s/]+/) ?? [];
      if (address) done(address);
    });
  });
}
