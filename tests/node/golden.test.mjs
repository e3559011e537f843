// The engine in Node against transformers.
import { join } from "node:path";
import { test } from "node:test";
import { assertTokens, CHECKPOINTS, convert, FORMATS, question } from "../golden/tokens.mjs";
import { freshFolder, importPackage } from "./support.mjs";

const { load } = await importPackage();
const folder = await freshFolder();

for (const name of CHECKPOINTS) {
  for (const format of FORMATS) {
    test(`${name} ${format}: the tokens of transformers`, async () => {
      const out = join(folder, `${name}-${format}`);
      await convert(name, format, out);
      const model = await load(out, { kv_cache: "f32" });
      await assertTokens(name, format, await model.run(await question(name)));
      model.dispose();
    });
  }
}
