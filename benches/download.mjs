// How fast a model comes: the loader (fetch, hash, store, hand over) beside four plain fetches of the same files from the same
// server, whose connections are slow as over the internet. `cargo xtask bench --download` runs it.
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { launchProfile } from "../www/scripts/browser.mjs";
import { bundle, definitions, readEngines } from "../www/scripts/bundle.mjs";
import { MOUNTS, PACKAGE, serveFiles, start } from "../www/scripts/serve.mjs";

const { values: options } = parseArgs({
  options: {
    chunks: { type: "string", default: "24" },
    bytes: { type: "string", default: "16000000" },
    latency: { type: "string", default: "50" }, // ms before an answer begins
    rate: { type: "string", default: "40e6" }, // bytes a second and connection
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const [CHUNKS, BYTES, LATENCY, RATE, ROUNDS] = ["chunks", "bytes", "latency", "rate", "rounds"].map((name) => Number(options[name]));
const HERE = dirname(fileURLToPath(import.meta.url));
const STEP_MS = 10;
/** Bytes that may wait in the server for a slow reader. */
const BUFFERED = 1e6;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A bundle whose chunks are noise, and differ. */
function makeModel() {
  const noise = createHash("shake256", { outputLength: BYTES }).update("noise").digest();
  const files = new Map();
  const put = (file, bytes) => (files.set(file, bytes), { file, bytes: bytes.length, sha256: sha256(bytes) });
  const chunks = Array.from({ length: CHUNKS }, (_, index) => {
    const bytes = Buffer.from(noise);
    bytes.writeUInt32LE(index);
    return put(`chunks/${index}.bin`, bytes);
  });
  const tokenizer = put("tokenizer.json", Buffer.from("{}"));
  const head = { format: "llava-web", version: 1, model: { name: "download" }, quantization: "q8", tensors: [] };
  files.set("manifest.json", Buffer.from(JSON.stringify({ ...head, tokenizer, chunks })));
  return { files, paths: chunks.map(({ file }) => file) };
}

/** Sends `bytes` as a connection of RATE does. */
async function sendSlowly(response, bytes) {
  await new Promise((resolve) => setTimeout(resolve, LATENCY));
  const started = performance.now();
  let sent = 0;
  while (sent < bytes.length && !response.destroyed) {
    const due = Math.min(bytes.length, Math.ceil(((performance.now() - started + STEP_MS) / 1000) * RATE));
    // A connection that the reader lets wait makes up for it later, within what its buffers hold.
    if (due > sent && response.writableLength < BUFFERED) {
      response.write(bytes.subarray(sent, due));
      sent = due;
    }
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
  response.end();
}

async function serve(model) {
  const files = serveFiles(MOUNTS);
  const worker = await bundle("worker", await definitions(await readEngines(join(PACKAGE, "dist/llava-web"))), { glue: join(HERE, "chunks-only.js"), write: false });
  return start({
    handler: async (request, response) => {
      const path = request.url.split("?")[0];
      if (path === "/blank") return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>download</title>");
      if (path === "/dist/llava-web/worker.js") return response.writeHead(200, { "content-type": "text/javascript" }).end(worker.outputFiles[0].text);
      const bytes = path.startsWith("/m/") && model.files.get(path.slice(3));
      if (!bytes) return files(request, response);
      response.writeHead(200, { "content-length": bytes.length, "cache-control": "no-store" });
      return bytes.length < BYTES ? response.end(bytes) : sendSlowly(response, bytes);
    },
  });
}

/** Four at a time, as bytes in memory: what a page without a loader would do. Milliseconds. */
async function plain(page, paths) {
  return page.evaluate(async (paths) => {
    const started = performance.now();
    const waiting = [...paths];
    const fetchNext = async () => {
      for (let path; (path = waiting.shift()) !== undefined; ) await (await fetch(`/m/${path}`, { cache: "no-store" })).arrayBuffer();
    };
    await Promise.all(Array.from({ length: 4 }, fetchNext));
    return performance.now() - started;
  }, paths);
}

/** The loader's time for the same, in milliseconds, into an empty store. */
async function loaded(page) {
  return page.evaluate(async () => {
    const { load, models } = await import("/dist/index.js");
    await models.delete("/m/");
    const started = performance.now();
    const model = await load("/m/");
    const ms = performance.now() - started;
    model.dispose();
    return ms;
  });
}

const model = makeModel();
const server = await serve(model);
const profile = await mkdtemp(join(tmpdir(), "llava-web-bench-"));
const context = await launchProfile(profile);
const page = await context.newPage();
await page.goto(`${server.origin}/blank`);
const rounds = [];
for (let round = 0; round < ROUNDS; round++) rounds.push({ plain_ms: await plain(page, model.paths), loader_ms: await loaded(page) });
await context.close();
await server.close();
await rm(profile, { recursive: true, force: true });
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const result = { chunks: CHUNKS, bytes: BYTES, latency_ms: LATENCY, bytes_per_second: RATE, rounds, ratio: median(rounds.map(({ plain_ms, loader_ms }) => loader_ms / plain_ms)) };
if (options.json) console.log(JSON.stringify(result));
else {
  for (const { plain_ms, loader_ms } of rounds) console.log(`four plain fetches ${(plain_ms / 1000).toFixed(2)} s, the loader ${(loader_ms / 1000).toFixed(2)} s`);
  console.log(`ratio (median): ${result.ratio.toFixed(2)}`);
}
