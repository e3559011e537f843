// The CPU's engine in Chromium, started without a flag, against transformers.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openBrowser, readBundle, serveBundles, servePackage } from "../e2e/support.mjs";
import { assertTokens, CHECKPOINTS, convert, FORMATS, question } from "../golden/tokens.mjs";

let browser, site, page, folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "llava-web-golden-"));
  browser = await openBrowser({ gpu: "plain" });
  site = await servePackage();
  page = await browser.open(site);
});
after(async () => {
  await browser.close();
  await site.close();
  await rm(folder, { recursive: true, force: true });
});

for (const name of CHECKPOINTS) {
  for (const format of FORMATS) {
    test(`${name} ${format}: the tokens of transformers`, async () => {
      const out = join(folder, `${name}-${format}`);
      await convert(name, format, out);
      const server = await serveBundles({ m: await readBundle(out) });
      try {
        const { image, ...input } = await question(name);
        const answer = await page.evaluate(
          async ({ url, image, input }) => {
            const model = await globalThis.llava.load(url, { device: "cpu", kv_cache: "f32", onWarning: () => undefined });
            const { token_ids, usage } = await model.run({ image: Uint8Array.from(image), ...input });
            model.dispose();
            return { token_ids, usage };
          },
          { url: `${server.origin}/m/`, image: [...image], input },
        );
        await assertTokens(name, format, answer);
      } finally {
        await server.close();
      }
    });
  }
}
