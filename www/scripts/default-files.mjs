// Writes src/default-files.ts: the default model's files, one by one, in the form that bundlers follow.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";

const manifest = await readFile(new URL("../../models/llava-sketches/manifest.json", import.meta.url));
const { tokenizer, chunks } = JSON.parse(manifest);
const paths = ["manifest.json", tokenizer.file, ...chunks.map(({ file }) => file)];
const lines = paths.map((path) => `  "${path}": () => new URL("./llava-web/model/${path}", import.meta.url),`);
await writeFile(
  new URL("../src/default-files.ts", import.meta.url),
  `// Written by scripts/default-files.mjs.

export const DEFAULT_MANIFEST_SHA256 = "${createHash("sha256").update(manifest).digest("hex")}";

/** The default model's files by their path in its folder. Bundlers look for exactly this form. */
export const DEFAULT_FILES: Record<string, () => URL> = {
${lines.join("\n")}
};
`,
);
