// The default model's files as the package ships them: the two bundles that models/default.json names, in one. Run as a script it
// writes src/api/default-files.ts: each file's address in the form that bundlers follow.
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const MODELS = fileURLToPath(new URL("../../models/", import.meta.url));

const readJson = async (...path) => JSON.parse(await readFile(join(MODELS, ...path), "utf8"));

/** The manifest of both, and where each file comes from, by its path in the bundle; as `llava-convert pair` has it. */
async function readDefaultModel() {
  const { first, second, question, answer } = await readJson("default.json");
  const files = new Map();
  const take = async (name, folder) => {
    const manifest = await readJson(name, "manifest.json");
    for (const { file } of [manifest.tokenizer, ...manifest.chunks]) files.set(folder + file, join(MODELS, name, file));
    // Its card, and whom to thank for what it learned from.
    for (const file of await readdir(join(MODELS, name))) if (file.endsWith(".md")) files.set(folder + file, join(MODELS, name, file));
    return manifest;
  };
  const manifest = await take(first, "");
  manifest.second = { question, answer, manifest: await take(second, "second/") };
  return { manifest: JSON.stringify(manifest), files };
}

/** The name in the package. Some bundlers make a script of every .json, whatever asks for it. */
function shippedName(path) {
  return path.replace(/\.json$/, ".txt");
}

/** Copies the files, and the models' cards, into `folder`. */
export async function copyDefaultModel(folder) {
  const { manifest, files } = await readDefaultModel();
  for (const [path, from] of files) {
    const to = join(folder, shippedName(path));
    await mkdir(dirname(to), { recursive: true });
    await cp(from, to);
  }
  await writeFile(join(folder, shippedName("manifest.json")), manifest);
}

async function main() {
  const { manifest, files } = await readDefaultModel();
  const paths = ["manifest.json", ...files.keys()].filter((path) => !path.endsWith(".md"));
  const lines = paths.map((path) => {
    const name = shippedName(path);
    return `  "${path}": ["${name}", () => new URL("./llava-web/model/${name}", import.meta.url)],`;
  });
  const source = `// Written by scripts/default-files.mjs.

export const DEFAULT_MANIFEST_SHA256 = "${createHash("sha256").update(manifest).digest("hex")}";

/** The default model's files by their path in the manifest: name in the package, and address. Bundlers look for exactly this form. */
export const DEFAULT_FILES: Record<string, readonly [name: string, address: () => URL]> = {
${lines.join("\n")}
};
`;
  await writeFile(join(dirname(fileURLToPath(import.meta.url)), "../src/api/default-files.ts"), source);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
