// What a package holds, and what its files name: a package is whole if all that is named is there.
import { readdir, readFile } from "node:fs/promises";
import { join, posix } from "node:path";

/** Files that nothing names and that belong to every release. */
const ROOTS = ["package.json", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "demo/index.html"];

/** The files of `folder` by path. */
export async function readFiles(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return new Map(await Promise.all(paths.map(async (path) => [path.slice(folder.length + 1).replaceAll("\\", "/"), await readFile(path)])));
}

/** What is wrong with the package of these files, a line each: what is named and missing, and what nothing names. */
export function problems(files) {
  const found = new Set(ROOTS);
  const missing = ROOTS.filter((path) => !files.has(path)).map((path) => `${path} is missing`);
  // A set takes in what is added while it is gone through.
  for (const path of found) {
    if (!files.has(path)) continue;
    for (const name of names(path, files)) {
      if (!files.has(name)) missing.push(`${path} names ${name}, which is missing`);
      found.add(name);
    }
  }
  const strays = [...files.keys()].filter((path) => !found.has(path)).map((path) => `${path} is named by nothing`);
  return [...missing, ...strays];
}

/** The paths that the file at `path` names. */
function names(path, files) {
  const kind = Object.keys(READERS).find((end) => path.endsWith(end));
  if (!kind) return [];
  const relative = READERS[kind](files.get(path).toString(), files).filter((name) => !/^[a-z]+:|^#/.test(name));
  return relative.map((name) => posix.join(posix.dirname(path), name));
}

const IMPORT = /\b(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g;
const ASSET = /new URL\(\s*["']([^"']+)["'],\s*import\.meta\.url\s*\)/g;
const FETCHED = /\bfetch\("([^":]+)"\)/g;
const SOURCE_MAP = /^\/\/# sourceMappingURL=(\S+)/gm;

/** By the end of a file's name, the longest first: what its text names, relative to itself. */
const READERS = {
  "dist/llava-web/model/manifest.txt": (text) => {
    const { second, ...first } = JSON.parse(text);
    const files = ({ tokenizer, chunks }, folder) => [tokenizer, ...chunks].map(({ file }) => folder + file.replace(/\.json$/, ".txt"));
    return [...files(first, ""), ...files(second.manifest, "second/")];
  },
  "demo/samples/index.json": (text) => JSON.parse(text).map(({ file }) => file),
  "package.json": (text, files) => {
    const { main, types, exports, bin, sideEffects } = JSON.parse(text);
    return [main, types, ...leaves(exports), ...leaves(bin), ...sideEffects].flatMap((name) => expand(name, files));
  },
  ".d.ts": (text) => all(text, IMPORT).map((name) => name.replace(/\.js$/, ".d.ts")),
  ".js.map": (text) => {
    const { sources, sourcesContent } = JSON.parse(text);
    return sources.filter((_, index) => sourcesContent?.[index] == null);
  },
  ".js": (text) => all(text, IMPORT, ASSET, FETCHED, SOURCE_MAP),
  ".html": (text) => all(text, /\b(?:href|src)="([^"]+)"/g),
  ".css": (text) => all(text, /url\(["']?([^"')]+)/g),
};

function all(text, ...patterns) {
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name]) => name));
}

/** The file names in a package.json's `exports` or `bin`. */
function leaves(value) {
  return typeof value === "string" ? [value] : Object.values(value).flatMap(leaves);
}

/** A pattern as the files that it stands for. */
function expand(name, files) {
  if (!name.includes("*")) return [name];
  const [start, end] = posix.join(name).split("*");
  return [...files.keys()].filter((path) => path.startsWith(start) && path.endsWith(end));
}
