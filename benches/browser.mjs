// The benches in headless Chromium: our wasm on a page, and with --peers other engines on pages of the same browser.
// `cargo xtask bench --browser` builds what this needs and runs it.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { launch } from "../www/scripts/browser.mjs";
import { serveFiles, serveIsolated, start } from "../www/scripts/serve.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const { values: options } = parseArgs({
  options: {
    site: { type: "string" }, // wasm-bindgen's output, a folder for each kind of device
    cpu: { type: "boolean", default: false }, // the CPU engine, and beside it the default model on the GPU
    options: { type: "string", default: "{}" }, // what to run, as the wasm takes it
    peers: { type: "string" }, // the folder with the peers' node_modules and models
    beside: { type: "string" }, // a native run's JSON to compare with
    commit: { type: "string", default: "" },
    hardware: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const print = options.json ? () => {} : (line) => console.log(line);

/** All of our benches, and one job of another engine. */
const LONGEST_MINUTES = 120;
const LONGEST_PEER_MINUTES = 15;
const WLLAMA_THREADS = 2;
/** Turns that our CPU engine and its peers take: what counts is the best of each. */
const CPU_TURNS = 2;
/** With so many threads each. */
const CPU_THREADS = [1, 2];
const DEFAULT_MODELS = ["photographs", "drawings"].map((of) => `default model (${of})`);
const CPU_MODELS = [...DEFAULT_MODELS, "V", "T", "S (SmolLM2-135M)"];
/** With `precision: "fast"`, which is for tokens. A page begins with code that its browser has not optimized yet: V is for that, as in the other list. */
const FAST_MODELS = ["V", "T", "S (SmolLM2-135M)"];

const mounts = { "/bench/": options.site, "/peers/": join(HERE, "peers"), "/benches/": HERE };
if (options.peers) Object.assign(mounts, { "/node_modules/": join(options.peers, "node_modules"), "/models/": join(options.peers, "models") });
const files = serveFiles(mounts);
const handler = serveIsolated((request, response) => {
  if (request.url === "/favicon.ico") return response.writeHead(204).end();
  if (request.url === "/blank") return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>bench</title>");
  return files(request, response);
});

async function main() {
  const server = await start({ handler });
  const browser = await launch({ gpu: options.hardware ? "hardware" : "software" });
  try {
    const run = options.cpu ? await onCpu(browser, server.origin) : { ...(await onGpu(browser, server.origin)), peers: [] };
    if (options.peers) {
      Object.assign(run.environment.versions, JSON.parse(await readFile(join(HERE, "peers/package.json"), "utf8")).dependencies);
      if (!options.cpu) run.peers = await peers(browser, server.origin, JOBS);
    }
    const native = options.beside && JSON.parse(await readFile(options.beside, "utf8"));
    const goals = JSON.parse(options.options).tiny ? [] : options.cpu ? compareCpu(run) : compare(run, native);
    if (goals.length > 0) print(`\n${"goal".padEnd(72)}${"found".padStart(9)}  wanted`);
    for (const { what, found, wanted, met } of goals) print(`${what.padEnd(72)}${found.toPrecision(3).padStart(9)}  ${wanted}${met ? "" : "  MISSED"}`);
    const report = native ? { native, browser: run, goals } : { ...run, goals };
    if (options.json) console.log(JSON.stringify(report));
    if (options.out) await writeFile(options.out, JSON.stringify(report));
  } finally {
    await browser.close();
    await server.close();
  }
}

/** Runs `work` on a page of its own; an error of the page becomes this program's. */
async function onPage(browser, origin, minutes, prepare, work) {
  const page = await browser.newPage();
  try {
    page.on("console", (message) => {
      // onnxruntime's warnings come as errors.
      if (message.type() === "error" && !message.text().includes("[W:onnxruntime")) console.error(`browser: ${message.text()}`);
    });
    const crash = new Promise((_, fail) => {
      page.on("crash", () => fail(new Error("the page crashed")));
      setTimeout(() => fail(new Error(`no end within ${minutes} minutes`)), minutes * 60_000).unref();
    });
    crash.catch(() => {});
    await prepare(page);
    await page.goto(`${origin}/blank`);
    return await Promise.race([work(page), crash]);
  } finally {
    await page.close();
  }
}

/** Our own benches, printed as their results come: `run` starts them in the page, with the options and what is told of results. */
async function ours(browser, origin, run, changes, threads) {
  const results = [];
  let environment;
  const onEnvironment = (found) => {
    environment = { ...found, chromium: browser.version(), commit: options.commit, date: new Date().toISOString().slice(0, 10) };
    print(JSON.stringify(environment));
  };
  const onResult = (json, line) => {
    results.push({ ...JSON.parse(json), ...(threads && { threads }) });
    print(line);
  };
  const prepare = async (page) => {
    await page.exposeFunction("onEnvironment", onEnvironment);
    await page.exposeFunction("onResult", onResult);
  };
  const wanted = { options: JSON.stringify({ ...JSON.parse(options.options), ...changes }), threads };
  await onPage(browser, origin, LONGEST_MINUTES, prepare, (page) => page.evaluate(run, wanted));
  return { environment, results };
}

/** On the GPU; with other `changes` to the options. */
function onGpu(browser, origin, changes = {}) {
  return ours(browser, origin, async ({ options }) => {
    const bench = await import("/bench/gpu/llava_bench.js");
    await bench.default();
    // wgpu tells no name in a browser.
    const { vendor, architecture, description } = (await navigator.gpu.requestAdapter()).info;
    const adapter = [vendor, architecture, description].join(" ").trim();
    await globalThis.onEnvironment({ ...JSON.parse(await bench.environment()), adapter });
    await bench.run(options, globalThis.onResult);
  }, changes);
}

/** On the CPU, by a worker and its helpers. */
function onThreads(browser, origin, threads, changes = {}) {
  return ours(browser, origin, (wanted) => new Promise((resolve, reject) => {
    const worker = new Worker("/benches/cpu.js", { type: "module" });
    const told = [];
    worker.onmessage = ({ data: { environment, json, line, error, done } }) => {
      if (environment) told.push(globalThis.onEnvironment(environment));
      if (json) told.push(globalThis.onResult(json, line));
      if (error) reject(new Error(error));
      if (done) resolve(Promise.all(told));
    };
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(wanted);
  }), changes, threads);
}

/**
 * The CPU engine in turns with its peers, with as many threads each, and the default model on the GPU once: in `results` and `peers` is
 * the best of all turns.
 */
async function onCpu(browser, origin) {
  const { tiny, only, filter } = JSON.parse(options.options);
  const run = { results: [], peers: [] };
  const least = (found, value, ...keys) => (results) => {
    for (const result of results) {
      const same = found.find((other) => keys.every((key) => other[key] === result[key]));
      if (same && result.unit === same.unit && result.unit !== "x") same[value] = Math.min(same[value], result[value]);
      else if (!same) found.push({ ...result });
    }
  };
  const keepOurs = least(run.results, "value", "section", "name", "metric", "threads", "precision");
  const keepPeers = least(run.peers, "ms", "engine", "model", "metric", "threads");
  if (!only.length || only.includes("c")) run.gpu = await onGpu(browser, origin, { only: ["c"], filter: DEFAULT_MODELS, cpu: false });
  if (only.some((section) => section !== "c") || filter.length) return { ...run, ...(await onThreads(browser, origin, 1)) };
  for (let turn = 0; turn < (tiny ? 1 : CPU_TURNS); turn++) {
    for (const threads of CPU_THREADS) {
      const { environment, results } = await onThreads(browser, origin, threads, { only: ["c"], filter: CPU_MODELS });
      run.environment = environment;
      keepOurs(results.map((result) => ({ ...result, precision: "exact" })));
      const fast = await onThreads(browser, origin, threads, { only: ["c"], filter: FAST_MODELS, fast: true });
      keepOurs(fast.results.map((result) => ({ ...result, precision: "fast" })));
      if (options.peers) keepPeers((await peers(browser, origin, cpuJobs(threads))).map((result) => ({ ...result, threads })));
    }
  }
  return run;
}

/** Function of peers.js, model, argument. */
const JOBS = [
  ["wllama", "T", { name: "T", threads: WLLAMA_THREADS }],
  ["wllama", "S", { name: "S", threads: WLLAMA_THREADS }],
  ["ortDecoder", "T", "T"],
  ["ortVision", "V", "webgpu"],
  ["ortDecoder", "S", "S"],
];
const WLLAMA_KINDS = ["Q4_0", "Q4_1", "IQ4_NL"];
const cpuJobs = (threads) => [
  ...["T", "S"].flatMap((name) => WLLAMA_KINDS.map((kind) => ["wllama", name, { name, kind, threads }])),
  ["ortVision", "V", "wasm", threads],
];

/** One page for each job: engines keep much in memory. A job that fails is reported and does not stop the others. */
async function peers(browser, origin, jobs) {
  print(`\n${"engine".padEnd(38)}${"model".padEnd(7)}${"what".padEnd(13)}${"ms".padStart(9)}`);
  const found = [];
  for (const [entry, model, ...rest] of jobs) {
    const job = (page) => page.evaluate(async ([entry, rest]) => (await import("/peers/peers.js"))[entry](...rest), [entry, rest]);
    try {
      const { engine, check, results } = await onPage(browser, origin, LONGEST_PEER_MINUTES, async () => {}, job);
      for (const [metric, ms] of Object.entries(results)) {
        found.push({ engine, model, metric, ms, check });
        print(`${engine.padEnd(38)}${model.padEnd(7)}${metric.padEnd(13)}${ms.toFixed(1).padStart(9)}   ${check}`);
      }
    } catch (error) {
      found.push({ engine: entry, model, error: error.message });
      print(`${entry.padEnd(38)}${model.padEnd(7)}failed: ${error.message.split("\n")[0]}`);
    }
  }
  return found;
}

/** What the project has set itself, as far as this run shows it. */
function compare(run, native) {
  const value = (of, name, metric) => of?.results.find((result) => result.section === "model" && result.name === name && result.metric === metric)?.value;
  const peer = (engine, model, metric) => run.peers.find((result) => result.engine.startsWith(engine) && result.model === model && result.metric === metric)?.ms;
  const goals = [];
  const least = (what, found, wanted) => Number.isFinite(found) && goals.push({ what, found, wanted: `at least ${wanted}`, met: found >= wanted });
  const most = (what, found, wanted) => Number.isFinite(found) && goals.push({ what, found, wanted: `at most ${wanted}`, met: found <= wanted });
  const ort = "onnxruntime-web";
  least("T, decode: onnxruntime-web / ours", peer(ort, "T", "decode@64") / value(run, "T", "decode@64"), 8);
  least("T, prefill of 64: onnxruntime-web / ours", peer(ort, "T", "prefill 64") / value(run, "T", "prefill 64"), 2);
  least("V, one picture: onnxruntime-web / ours", peer(ort, "V", "image") / value(run, "V", "image"), 2);
  const small = "S (SmolLM2-135M)";
  most("S, decode: ours / wllama", value(run, small, "decode@64") / peer("wllama", "S", "decode@64"), 8);
  const layer = "7B layer (2 layers - 1)";
  most("7B layer, dispatches", value(run, layer, "dispatches"), 8);
  least("7B layer, decode speed at context 2048 of that at 256", value(run, layer, "speed at 2048 of 256"), 0.85);
  most("32 tiny layers, host per token, us", value(run, "32 tiny layers", "host per token"), 1000);
  for (const name of DEFAULT_MODELS) least(`${name}, first token: new picture / second question`, value(run, name, "sooner on the same picture"), 5);
  if (native?.environment.adapter.includes("SwiftShader") && !options.hardware) {
    for (const name of ["T", small, "7B, 1 layer"]) {
      least(`${name}, decode speed: browser / native`, value(native, name, "decode@64") / value(run, name, "decode@64"), 0.8);
    }
  }
  return goals;
}

function compareCpu(run) {
  const value = (of, ...wanted) => of?.results.find(({ name, metric, threads, precision }) => [name, metric, threads, precision].every((found, i) => found === wanted[i]))?.value;
  /** Of several formats the quickest. */
  const peer = (engine, model, metric, threads) => {
    const found = run.peers.filter((result) => result.engine.startsWith(engine) && result.model === model && result.metric === metric && result.threads === threads);
    return found.length > 0 ? Math.min(...found.map(({ ms }) => ms)) : undefined;
  };
  const goals = [];
  const least = (what, theirs, ours, wanted) =>
    Number.isFinite(theirs / ours) && goals.push({ what, found: theirs / ours, wanted: `at least ${wanted}`, met: theirs / ours >= wanted });
  const small = "S (SmolLM2-135M)";
  const ofDecoders = [["T", "T"], ["S", small]].flatMap(([model, name]) => ["decode@64", "prefill 64"].map((metric) => [model, name, metric]));
  for (const threads of CPU_THREADS) {
    const each = threads === 1 ? "a thread each" : `${threads} threads each`;
    for (const [model, name, metric] of ofDecoders) {
      const theirs = peer("wllama", model, metric, threads);
      least(`${model}, ${metric}: wllama / ours, ${each}`, theirs, value(run, name, metric, threads, "exact"), 2);
      least(`${model}, ${metric}: wllama / ours with precision "fast", ${each}`, theirs, value(run, name, metric, threads, "fast"), 3);
    }
    least(`V, one picture: onnxruntime-web (wasm) / ours, ${each}`, peer("onnxruntime-web", "V", "image", threads), value(run, "V", "image", threads, "exact"), 1.2);
  }
  for (const [model, name, metric] of [...ofDecoders, ["V", "V", "image"]]) {
    least(`${model}, ${metric}: one thread / two`, value(run, name, metric, 1, "exact"), value(run, name, metric, 2, "exact"), 1.6);
  }
  const first = "first token, new picture";
  for (const name of DEFAULT_MODELS) {
    least(`${name}, first token of a new picture: GPU / CPU`, value(run.gpu, name, first), value(run, name, first, 1, "exact"), 3);
  }
  return goals;
}

await main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
