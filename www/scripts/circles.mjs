// Fails where files of www/src import one another in a circle, imports of types included: calls go in one direction.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const SOURCES = fileURLToPath(new URL("../src/", import.meta.url));

/** What the TypeScript files below `folder` import of one another: absolute paths by absolute path. `x.js` is `x.node.ts` too. */
async function readImports(folder) {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".ts"));
  const imports = await Promise.all(names.map(async (name) => {
    const path = join(folder, name);
    const text = (await readFile(path, "utf8")).replaceAll(/\/\*.*?\*\//gs, "");
    const named = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["'`](\.[^"'`]+)\.[jt]s["'`]/g)];
    const others = named.map(([, other]) => resolve(dirname(path), other));
    return [path, others.flatMap((other) => [`${other}.ts`, `${other}.node.ts`])];
  }));
  return new Map(imports);
}

/** A path of imports that comes back to where it began; undefined where there is none. */
export async function findCircle(folder = SOURCES) {
  const imports = await readImports(folder);
  const done = new Set();
  const visit = (path, trail) => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path].map((step) => relative(folder, step));
    if (done.has(path)) return undefined;
    for (const other of imports.get(path) ?? []) {
      const circle = visit(other, [...trail, path]);
      if (circle) return circle;
    }
    done.add(path);
    return undefined;
  };
  for (const path of imports.keys()) {
    const circle = visit(path, []);
    if (circle) return circle;
  }
  return undefined;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const circle = await findCircle();
  if (circle) {
    console.error(`www/src imports in a circle: ${circle.join(" -> ")}`);
    process.exit(1);
  }
}
