// This package beside another one, say of an earlier commit: first load, second load, picture, prompt and token of one model in
// headless Chromium. The same bundle in both: packages come with default models of their own. `cargo xtask bench --against PACKAGE` runs it.
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launchProfile } from "../www/scripts/browser.mjs";
import { PACKAGE, serveFiles, start } from "../www/scripts/serve.mjs";

const { values: options } = parseArgs({
  options: {
    against: { type: "string" }, // the unpacked package to compare with
    rounds: { type: "string", default: "5" },
    model: { type: "string", default: join(PACKAGE, "../../models/llava-sketches") }, // a bundle that both can read
    device: { type: "string", default: "gpu" },
    hardware: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
for (const [option, folder, file] of [
  ["against", options.against, "dist/index.js"],
  ["model", options.model, "manifest.json"],
]) {
  await access(join(folder, file)).catch(() => {
    console.error(`--${option}: there is no ${file} in ${folder}`);
    process.exit(1);
  });
}
/** Pictures that differ, so that none is known: each round asks about all of them. */
const PICTURES = 12;

function serve(folder) {
  const files = serveFiles({ "/dist/": join(folder, "dist"), "/model/": options.model });
  return start({
    handler: (request, response) =>
      request.url === "/blank" ? response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>against</title>") : files(request, response),
  });
}

/** In the page: milliseconds of a load, then of each part of the answers. */
async function measure({ pictures, device }) {
  const { load } = await import("/dist/index.js");
  // The same keys and values in both: f16 is the default of some, f32 of others, and on SwiftShader they cost differently.
  const cache = { kv_cache: "f32" };
  // Packages that do not know the option have the GPU's engine only.
  const ofOld = (error) => (error.code === "invalid_input" ? load("/model/", cache) : Promise.reject(error));
  const started = performance.now();
  const model = await load("/model/", { ...cache, device }).catch(ofOld);
  const times = { load: performance.now() - started, image: 0, prefill: 0, token: 0 };
  let tokens = 0;
  for (let index = 0; index < pictures; index++) {
    const canvas = new OffscreenCanvas(64, 64);
    const context = canvas.getContext("2d");
    context.fillStyle = `rgb(${index * 20}, 120, 200)`;
    context.fillRect(8, 8, 40, 40);
    const image = await canvas.convertToBlob();
    // Hot, so that answers are long: what a token takes drowns in what an answer takes when that is "a purple square".
    const { timings, usage } = await model.run({ image, prompt: "What is in this picture?", max_tokens: 60, temperature: 5, seed: index });
    times.image += timings.image / pictures;
    times.prefill += timings.prefill / pictures;
    times.token += timings.decode;
    tokens += usage.completion_tokens - 1;
  }
  times.token /= Math.max(tokens, 1);
  return times;
}

/** A profile that has seen nothing, and then the same one in a new browser. */
async function round(origin) {
  const profile = await mkdtemp(join(tmpdir(), "llava-web-against-"));
  const visit = async () => {
    const context = await launchProfile(profile, { gpu: options.hardware ? "hardware" : "software" });
    try {
      const page = await context.newPage();
      await page.goto(`${origin}/blank`);
      return await page.evaluate(measure, { pictures: PICTURES, device: options.device });
    } finally {
      await context.close();
    }
  };
  try {
    const first = await visit();
    const { load, ...answers } = await visit();
    return { "first load": first.load, "second load": load, picture: answers.image, prompt: answers.prefill, token: answers.token };
  } finally {
    await rm(profile, { recursive: true, force: true });
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

const sites = [await serve(PACKAGE), await serve(options.against)];
const results = [[], []];
try {
  for (let index = 0; index < Number(options.rounds); index++) {
    // In turn, each first in every second round: what else the machine does falls on both.
    for (const which of index % 2 ? [1, 0] : [0, 1]) results[which].push(await round(sites[which].origin));
    const [own, other] = results.map((rounds) => rounds[index]);
    console.error(`round ${index + 1}: ${Object.keys(own).map((what) => `${what} ${(own[what] / other[what]).toFixed(2)}`).join(", ")}`);
  }
} finally {
  await Promise.all(sites.map((site) => site.close()));
}
const table = Object.keys(results[0][0]).map((what) => {
  const [own, other] = results.map((rounds) => median(rounds.map((round) => round[what])));
  const ratios = results[0].map((round, index) => round[what] / results[1][index][what]);
  return { what, ms: own, other_ms: other, ratio: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
});
if (options.json) {
  console.log(JSON.stringify({ rounds: results, table }));
} else {
  console.log(`${"".padEnd(12)} ${"this, ms".padStart(10)} ${"other, ms".padStart(10)} ${"ratio".padStart(7)}   (medians of ${options.rounds} rounds, the ratios' range)`);
  for (const { what, ms, other_ms, ratio, least, most } of table) {
    const range = `${least.toFixed(2)} to ${most.toFixed(2)}`;
    console.log(`${what.padEnd(12)} ${ms.toFixed(1).padStart(10)} ${other_ms.toFixed(1).padStart(10)} ${ratio.toFixed(2).padStart(7)}   ${range}`);
  }
}
