// ad hoc: what ten kills cost with 8 MiB chunks
import { assertSound, load, makeBundle, openBrowser, serveBundles, servePackage } from "./support.mjs";
const rate = Number(process.argv[2] ?? 0); // MB/s, 0 = unlimited
const N = Number(process.argv[3] ?? 64);
const kills = Number(process.argv[4] ?? 10);
const MIB = 1 << 20;
const browser = await openBrowser();
const site = await servePackage({ fake: true });
const bundle = makeBundle({ chunkBytes: 8 * MIB, seeds: Array.from({ length: N }, (_, i) => i) });
const server = await serveBundles({ m: bundle });
let written = 0, requests = 0, next = 0;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
server.fault = async (path, request, response) => {
  if (!path.includes("/chunks/")) return false;
  requests++;
  const bytes = bundle.files.get(path.slice(2));
  response.writeHead(200, { "content-length": bytes.length });
  for (let at = 0; at < bytes.length && !response.destroyed; at += 65536) {
    const piece = bytes.subarray(at, at + 65536);
    if (rate) { next = Math.max(next, performance.now()) + piece.length / rate / 1000; const wait = next - performance.now(); if (wait > 4) await sleep(wait); }
    const ok = response.write(piece);
    written += piece.length;
    if (!ok) await new Promise((r) => { response.once("drain", r); response.once("close", r); });
  }
  response.end();
  return true;
};
let page = await browser.open(site);
for (let kill = 0; kill < kills; kill++) {
  load(page, `${server.origin}/m/`).catch(() => undefined);
  const until = ((kill + Math.random()) * bundle.total_bytes) / kills;
  while (written < until) await sleep(2);
  await sleep(Math.random() * 100);
  await browser.restart();
  page = await browser.open(site);
}
const peak = { js: 0, backing: 0 };
const cdp = await browser.context.newCDPSession(page);
const started = performance.now();
const w0 = written;
const { error, warnings } = await load(page, `${server.origin}/m/`);
console.log({ error, warnings }, "rest:", ((written - w0) / MIB).toFixed(), "MiB in", ((performance.now() - started) / 1000).toFixed(1), "s");
console.log(`rate ${rate}: ${kills} kills: extra bytes ${((written - bundle.total_bytes) / MIB).toFixed(1)} MiB, extra requests ${requests - N} = ${(requests - N) * 8} MiB; of 4 GB: ${((written - bundle.total_bytes) / 4e9 * 100).toFixed(2)}% / ${(((requests - N) * 8 * MIB) / 4e9 * 100).toFixed(2)}%`);
await browser.close(); await server.close(); await site.close(); process.exit(0);
