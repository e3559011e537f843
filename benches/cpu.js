// Our benches for the CPU in a worker, `threads` of them at each operation. The helpers are workers of this same script.
import init, { environment, help, initSync, module, run } from "/bench/cpu/llava_bench.js";

self.onmessage = ({ data }) => (data.module ? assist(data) : measure(data));

function assist({ module, memory }) {
  initSync({ module, memory });
  self.postMessage("ready");
  help();
}

async function measure({ threads, options }) {
  try {
    const { memory } = await init();
    await Promise.all(Array.from({ length: threads - 1 }, () => startHelper({ module: module(), memory })));
    self.postMessage({ environment: { ...JSON.parse(await environment()), threads } });
    await run(options, (json, line) => self.postMessage({ json, line }));
    self.postMessage({ done: true });
  } catch (error) {
    self.postMessage({ error: error.message });
  }
}

function startHelper(data) {
  const worker = new Worker(import.meta.url, { type: "module" });
  worker.postMessage(data);
  return new Promise((resolve) => (worker.onmessage = resolve));
}
