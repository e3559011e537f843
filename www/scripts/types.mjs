// Puts into www/dist the declarations that users of the package see: those of its two entries and what they import.
import { cp, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const WWW = dirname(dirname(fileURLToPath(import.meta.url)));

export async function copyTypes() {
  const names = new Set(["index", "engine"]);
  for (const name of names) {
    const from = join(WWW, `build/types/${name}.d.ts`);
    await cp(from, join(WWW, `dist/${name}.d.ts`));
    for (const [, imported] of (await readFile(from, "utf8")).matchAll(/["'](\.[^"']+)\.js["']/g)) names.add(join(dirname(name), imported));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await copyTypes();
