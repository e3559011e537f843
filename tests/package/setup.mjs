// What the tests of the packed package share: the tarball, fresh folders to install it in, tools to run there.
import { exec, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { readFiles } from "./tarball.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));

const packed = process.env.LLAVA_TARBALL;
if (!packed) throw new Error("LLAVA_TARBALL must name the packed package: run `cargo xtask test package`");

/** Where this file of tests works; gone at its end. */
const WORK = await freshFolder(`${dirname(packed)}-tests`);
after(() => rm(WORK, { recursive: true, force: true }));

/** The tarball to test: a copy, as the package may be packed anew meanwhile. */
export const TARBALL = join(WORK, "llava-web.tgz");
await cp(packed, TARBALL);

/** Whether all is tested, or only what belongs to every run. */
export const EVERYTHING = process.env.LLAVA_PACKAGE_TESTS === "everything";

/** Nothing that is run here takes this long, in ms. */
const LONGEST_COMMAND = 5 * 60_000;

async function freshFolder(parent) {
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, "run-"));
}

const run = promisify(exec);

/** Runs `command` in a shell, with the tools that are installed in `folder`; resolves to what it printed. */
export async function shell(command, folder, env = {}) {
  try {
    const { stdout, stderr } = await run(command, { cwd: folder, env: environment(folder, env), timeout: LONGEST_COMMAND, maxBuffer: 2 ** 26 });
    return stdout + stderr;
  } catch (error) {
    throw new Error(`${command}: ${error.killed ? "took too long" : `ended with ${error.code}`}\n${error.stdout}${error.stderr}`);
  }
}

/** Starts `command` as `shell` does. `log` is what it has printed, `ended` whether it has ended; `end` ends it with all that it has started. */
export function background(command, folder, env = {}) {
  const child = spawn(command, { cwd: folder, env: environment(folder, env), shell: true, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const running = {
    log: "",
    get ended() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    end: () => running.ended || process.kill(-child.pid),
  };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (running.log += text));
  return running;
}

function environment(folder, env) {
  const path = [join(folder, "node_modules/.bin"), process.env.PATH].join(delimiter);
  // What a test runner says to its children is not meant for these.
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  return { ...inherited, NEXT_TELEMETRY_DISABLED: "1", ...env, PATH: path };
}

const installed = new Map();

/** A fresh copy of tests/package/<name> with what its lock says and the tarball installed; the same folder for all tests of a file. */
export function install(name) {
  if (!installed.has(name)) installed.set(name, installFresh(name));
  return installed.get(name);
}

async function installFresh(name) {
  const folder = join(WORK, name);
  await cp(join(HERE, name), folder, { recursive: true });
  await cp(join(HERE, "page"), folder, { recursive: true, force: false });
  const quietly = "--ignore-scripts --no-audit --no-fund";
  await shell(`npm ci ${quietly} && npm install --no-save ${quietly} ${JSON.stringify(TARBALL)}`, folder);
  return folder;
}

/** The files of the installed package. */
export async function packageFiles() {
  return readFiles(join(await install("plain"), "node_modules/llava-web"));
}
