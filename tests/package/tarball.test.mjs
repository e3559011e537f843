// The tarball itself: whole, clean for package managers and type checkers, and importable where there is no browser.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Script } from "node:vm";
import { EVERYTHING, install, packageFiles, shell, TARBALL } from "./setup.mjs";
import { problems } from "./tarball.mjs";

test("all that its files name is in it, and nothing that none of them names", async () => assert.deepEqual(problems(await packageFiles()), []));

test("whatever file is left out, the check above fails", async () => {
  const files = await packageFiles();
  for (const path of files.keys()) {
    const without = new Map(files);
    without.delete(path);
    assert.ok(problems(without).some((problem) => problem.includes(path)), `${path} may be left out, and nobody notices`);
  }
});

// Bundlers make a classic script of it, some of them one that may hold nothing of what a module may.
test("the worker is a script without imports", async () => {
  const worker = String((await packageFiles()).get("dist/llava-web/worker.js"));
  assert.doesNotThrow(() => new Script(worker));
  assert.doesNotMatch(worker, /\bimport\s*\(/);
});

test("publint finds nothing", async () => assert.match(await shell(`publint ${TARBALL} --strict`, await install("lint")), /All good/));

// The other entries are files to point at by URL, not modules.
test("arethetypeswrong finds nothing", async () => {
  await shell(`attw ${TARBALL} --profile esm-only --entrypoints . engine`, await install("lint"));
});

test("Node.js imports it, and each call is answered, or rejects with an error of ours", async () => {
  const outcomes = (await shell("node node.mjs", await install("plain"))).trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(outcomes.length >= 5);
  const browsers = outcomes.splice(outcomes.findIndex(({ name }) => name === "what is for browsers"), 1)[0];
  assert.equal(browsers.code, "webgpu_unavailable");
  assert.match(browsers.message, /`node`/);
  const answered = ["load", "availability", "models.list"];
  for (const { name, llava, code, message } of outcomes) {
    const [kind, text] = answered.includes(name) ? [undefined, "undefined"] : [true, "string"];
    assert.deepEqual({ name, llava, code: typeof code, message: typeof message }, { name, llava: kind, code: text, message: text });
  }
});

const COMPILERS = ["5.0", "5.4", "5.7", "5.9", "6.0", "7.0"];
const QUICK = ["5.0", "7.0"];
// The oldest library that a user of these may have, and the newest.
const LIBRARIES = ["es2022,dom,dom.iterable", "esnext,dom,dom.iterable"];
for (const version of EVERYTHING ? COMPILERS : QUICK) {
  for (const [module, resolution] of [["esnext", "bundler"], ["nodenext", "nodenext"]]) {
    test(`TypeScript ${version} takes the types with --moduleResolution ${resolution}`, async () => {
      const folder = await install("typescript");
      for (const library of LIBRARIES) {
        const options = `--noEmit --strict --exactOptionalPropertyTypes --skipLibCheck false --target es2022 --lib ${library}`;
        await shell(`node node_modules/typescript-${version}/bin/tsc ${options} --module ${module} --moduleResolution ${resolution} use.ts`, folder);
      }
    });
  }
}

test("TypeScript takes the types where those of a page are not known", async () => {
  const options = "--noEmit --strict --exactOptionalPropertyTypes --skipLibCheck false --target es2023 --lib es2023 --types node --module nodenext";
  await shell(`tsc ${options} use.ts`, await install("typescript-node"));
});

// Which registry wrote a lock is nobody's business, and another one has the same packages.
test("the apps' locks name no registry", async () => {
  const paths = await readdir(import.meta.dirname, { recursive: true });
  const locks = paths.filter((path) => path.endsWith("package-lock.json") && !path.includes("node_modules"));
  assert.ok(locks.length > 0);
  for (const path of locks) assert.doesNotMatch(await readFile(join(import.meta.dirname, path), "utf8"), /"resolved"/, path);
});
