// The default model's files as the package ships them. Run as a script it writes src/api/default-files.ts: each file's address in the
// form that bundlers follow.
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const MODEL = fileURLToPath(new URL("../../models/llava-sketches/", import.meta.url));

async function readManifest() {
  const bytes = await readFile(join(MODEL, "manifest.json"));
  const { second, ...first } = JSON.parse(bytes);
  const files = ({ tokenizer, chunks }, folder) => [tokenizer, ...chunks].map(({ file }) => folder + file);
  return { bytes, paths: ["manifest.json", ...files(first, ""), ...(second ? files(second.manifest, "second/") : [])] };
}

/** The name in the package. Some bundlers make a script of every .json, whatever asks for it. */
function shippedName(path) {
  return path.replace(/\.json$/, ".txt");
}

/** Copies the files, and the model's card, into `folder`. */
export async function copyDefaultModel(folder) {
  const { paths } = await readManifest();
  for (const path of [...paths, "README.md"]) {
    const to = join(folder, shippedName(path));
    await mkdir(dirname(to), { recursive: true });
    await cp(join(MODEL, path), to);
  }
}

async function main() {
  const { bytes, paths } = await readManifest();
  const lines = paths.map((path) => {
    const name = shippedName(path);
    return `  "${path}": ["${name}", () => new URL("./llava-web/model/${name}", import.meta.url)],`;
  });
  const source = `// Written by scripts/default-files.mjs.

export const DEFAULT_MANIFEST_SHA256 = "${createHash("sha256").update(bytes).digest("hex")}";

/** The default model's files by their path in the manifest: name in the package, and address. Bundlers look for exactly this form. */
export const DEFAULT_FILES: Record<string, readonly [name: string, address: () => URL]> = {
${lines.join("\n")}
};
`;
  await writeFile(join(dirname(fileURLToPath(import.meta.url)), "../src/api/default-files.ts"), source);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
